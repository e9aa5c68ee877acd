"""The worker of queue placet-default: workflows, audit, notification, quick pre-screen."""
