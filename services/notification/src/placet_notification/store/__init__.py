"""The store of NotificationService."""

from placet_notification.store.deliveries import Store
from placet_notification.store.leases import Claim, Lease
from placet_notification.store.tables import DELIVERY, METADATA

__all__ = ["DELIVERY", "METADATA", "Claim", "Lease", "Store"]
