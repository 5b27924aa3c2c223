"""Agent assist in one page, on a running bridge: validate, stream, take the top suggestion, see it exported, close.

python examples/orchestrate.py INTERACTION_ID [--bootstrap-servers localhost:9092] [--bridge http://localhost:8080]
"""

import argparse
import asyncio
import sys

import httpx

from bridge import AgentAssistStream, BridgeError


async def orchestrate(interaction_id: str, *, bootstrap_servers: str, prefix: str, bridge: str) -> None:
    print("Validating the environment ...")
    await validate(bridge)

    # From here on the bridge asks Genesys for suggestions of this interaction.
    async with AgentAssistStream(bootstrap_servers, prefix=prefix, interaction_id=interaction_id) as stream:
        print("Subscribed. Waiting for suggestions ...")
        try:
            async with asyncio.timeout(300):
                await take_the_first(stream)
        finally:
            await stream.unsubscribe()
    print("Connection closed.")


async def take_the_first(stream: AgentAssistStream) -> None:
    async for batch in stream:
        print(f"Received {len(batch.ranked_suggestions)} ranked suggestions.")
        top = batch.ranked_suggestions[0]
        print(f"Agent selects: {top.title} (confidence: {top.confidence})")

        # `await stream.click(top)` would be enough: the bridge counts the click and exports it. This one also waits to
        # be told, on the topic `suggestion-audit`, that the knowledge-management platform (KMP) has it.
        click = await stream.click_until_exported(top)
        print(f"Export {click.outcome} (HTTP {click.status}), acceptance rate: {click.acceptance_rate}")
        break  # One cycle is enough to see how it works.


async def validate(bridge: str) -> None:
    """Exits with the reasons unless the bridge is ready to work.

    The bridge has asked Genesys for a token, the content library and the quota at its start, and keeps an eye on all
    that it needs: Genesys, Kafka's topics, every partition having its worker, the KMP. `/readyz` names them one by one.
    """
    async with httpx.AsyncClient(trust_env=False) as http:  # It is near: no proxy.
        try:
            answer = await http.get(f"{bridge}/readyz")
        except httpx.HTTPError as error:
            sys.exit(f"No bridge answers at {bridge} ({error}): start one with `bridge run all`.")
    if answer.status_code != 200:
        faults = [one for one in answer.json()["conditions"] if not one["is_ready"]]
        sys.exit("\n".join(["The bridge is not ready:", *(f"- {one['name']}: {one['reason']}" for one in faults)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interaction_id", metavar="INTERACTION_ID")
    parser.add_argument("--bootstrap-servers", default="localhost:9092", help="Kafka")
    parser.add_argument("--prefix", default="", help="the bridge's kafka.prefix, if it has one")
    parser.add_argument("--bridge", default="http://localhost:8080", help="where the bridge tells its health")
    given = parser.parse_args()
    work = orchestrate(
        given.interaction_id, bootstrap_servers=given.bootstrap_servers, prefix=given.prefix, bridge=given.bridge
    )
    try:
        asyncio.run(work)
    except TimeoutError as error:
        sys.exit(f"Nothing came in time. Is the interaction live? {error}")
    except (BridgeError, ValueError) as error:
        sys.exit(f"It did not work: {error}")


if __name__ == "__main__":
    main()
