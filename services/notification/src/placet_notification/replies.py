"""Whether a mail server's refusal is about the recipient, or about itself or us. Pure.

RFC 5321 with the enhanced status codes of RFC 3463. A refusal of the recipient is final, and nobody is told;
so it must be certain. All else (greeting, login, sender, policy, this server's state) is for an operator to
mend, and the same mail may go afterwards.
"""

import re
from enum import StrEnum


class Stage(StrEnum):
    """Where in the conversation the server refused."""

    BEFORE = "before"
    """Greeting, EHLO, STARTTLS, AUTH."""
    SENDER = "MAIL"
    RECIPIENT = "RCPT"
    MAIL = "DATA"


# At RCPT, from servers that give no enhanced code: the address is not taken as it is written (501), has no
# mailbox (550), is not here (551), is not allowed as a name (553), is of a domain that takes no mail (556,
# RFC 7504). Not 552, which RFC 5321, 4.5.3.1.10 has clients take for 452; not 503, 530, 554 and so on, which
# are about the session, its authentication or its policy.
_ABOUT_THE_RECIPIENT = frozenset({501, 550, 551, 553, 556})

# X.1.Z speaks of addresses, mostly the recipient's; X.2.Z of its mailbox: disabled, or not for such mails.
# Not X.1.7 and X.1.8, the sender's address; not X.2.2, a full mailbox, which can be emptied.
_ENHANCED_ABOUT_THE_RECIPIENT = frozenset(
    {"1.0", "1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.0", "2.1", "2.3", "2.4"}
)
_ENHANCED = re.compile(r"5\.(\d{1,3}\.\d{1,3})(?!\d)")


def refuses_recipient(stage: Stage, code: int, answer: str) -> bool:
    """Whether the answer (`code` and what follows it) says that this recipient gets no mail, ever.

    After the mail's last byte only an enhanced code can say so: a bare 550 is a refusal by policy there
    (RFC 5321, 4.3.2). The enhanced code, where there is one, says more than the basic one.
    """
    if stage not in (Stage.RECIPIENT, Stage.MAIL) or not 500 <= code < 600:
        return False
    enhanced = _ENHANCED.match(answer)
    if enhanced is not None:
        return enhanced[1] in _ENHANCED_ABOUT_THE_RECIPIENT
    return stage is Stage.RECIPIENT and code in _ABOUT_THE_RECIPIENT
