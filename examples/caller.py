import asyncio

from placet_client import PlacetClient


async def main() -> None:
    async with PlacetClient.connect("127.0.0.1:7400", ".placet/tokens/caller") as client:
        approval = await client.request_approval(
            title="Pay invoice 4711",
            content="EUR 950 to ACME",
            policy="simple",
            required_approver="alice@example.com",
        )
        print(f"placet decide {approval.id} approve --as alice@example.com", flush=True)
        outcome = await approval.outcome()
        print(f"{outcome.state} by {outcome.approver}")


asyncio.run(main())
