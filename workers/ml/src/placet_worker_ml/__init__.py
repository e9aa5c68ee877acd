"""The worker of queue placet-ml: evaluation of risk scores."""
