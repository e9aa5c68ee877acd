"""The embedded stack's mail server: it takes every mail on this machine and sends none of them on."""

from placet_devstack.mailsink.box import Mail, MailBox, read_mails
from placet_devstack.mailsink.server import MailSink, listen_address

__all__ = ["Mail", "MailBox", "MailSink", "listen_address", "read_mails"]
