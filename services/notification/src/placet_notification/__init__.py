"""NotificationService: tells people by mail, and programs by stream."""
