"""NotificationService: notifies people by mail, and programs by stream."""
