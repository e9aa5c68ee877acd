import os

from placet_client import PlacetError
from placet_client.sync import PlacetClient

ADDRESS = os.environ.get("PLACET_APPROVAL_ADDRESS", "127.0.0.1:7400")
TOKEN = os.environ.get("PLACET_TOKEN_FILE", ".placet/tokens/caller")

try:
    with PlacetClient.connect(ADDRESS, TOKEN, patience=5) as client:
        approval = client.request_approval(
            title="Pay invoice 4711",
            content="EUR 950 to ACME",
            policy="simple",
            required_approver="alice@example.com",
        )
        print(f"placet decide {approval.id} approve --as alice@example.com", flush=True)
        outcome = approval.outcome()
        print(f"{outcome.state} by {outcome.approver}")
except PlacetError as error:
    raise SystemExit(f"{error}\nIs the stack up at {ADDRESS}? `placet up` starts one.") from None
