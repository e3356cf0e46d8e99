"""An agent as its users run it: the real Python MCP client, 1.x or 2.x, over stdio, Streamable HTTP or HTTP+SSE.

Speaks with the test that started it in JSON lines: what it shows its human goes out, nothing else is mocked.
Usage: agent.py ERA NAME stdio BINARY DATA PROFILE  |  … http URL  |  … sse URL   (ERA: auto or legacy, for 2.x)
"""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager

SCOPES = ["audience:read", "email:send", "no:such"]
transcript = []


@asynccontextmanager
async def connect(era, way, where, headers=None):
    """A session that can call tools, whichever generation of the package is installed."""
    from mcp import StdioServerParameters
    from mcp.client.sse import sse_client

    program = StdioServerParameters(command=where[0], args=["mcp", "--data", *where[1:2], "--profile", *where[2:]])
    try:
        from mcp import Client
    except ImportError:
        from mcp import ClientSession
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamablehttp_client

        ways = {"stdio": lambda: stdio_client(program), "http": lambda: streamablehttp_client(where[0], headers=headers), "sse": lambda: sse_client(where[0], headers=headers)}
        async with ways[way]() as streams, ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            yield session
        return
    if way == "stdio":
        target = program
    elif way == "sse":
        target = sse_client(where[0], headers=headers)
    elif headers is None:
        target = where[0]
    else:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        target = streamable_http_client(where[0], http_client=httpx2.AsyncClient(headers=headers, timeout=90))
    async with Client(target, mode=era) as client:
        yield client


async def call(session, tool, **arguments):
    result = await session.call_tool(tool, arguments)
    failed = getattr(result, "is_error", None) if hasattr(result, "is_error") else result.isError
    structured = getattr(result, "structured_content", None) if hasattr(result, "structured_content") else result.structuredContent
    text = "".join(part.text for part in result.content if part.type == "text")
    transcript.append(text)
    if failed:
        return json.loads(text)
    assert json.loads(text) == structured, "the text says something else than the structured content"
    return structured


def tell(**what):
    print(json.dumps(what), flush=True)


async def main(era, name, way, where):
    async with connect(era, way, where) as session:
        tools = sorted(tool.name for tool in (await session.list_tools()).tools)
        assert tools == ["check_scope", "list_keys", "poll_claim", "register_agent", "revoke_key"], tools
        nothing_yet = await call(session, "list_keys")
        assert nothing_yet["error"] == "not_signed_in" and "register_agent" in nothing_yet["next"], nothing_yet
        wrong = await call(session, "poll_claim", claim_id="x", wait_seconds="soon")
        assert wrong["error"] == "invalid_arguments" and "wait_seconds" in wrong["next"], wrong

        asked = await call(session, "register_agent", agent_name=name, scopes=SCOPES)
        assert asked["ignored_scopes"] == ["no:such"] and asked["scopes"] == SCOPES[:2], asked
        again = await call(session, "register_agent", agent_name=name, scopes=SCOPES)
        if way == "stdio":
            assert again["claim_id"] == asked["claim_id"], "an identical call opened a second claim"
        tell(link=asked["verification_uri_complete"], code=asked["user_code"])

        while (polled := await call(session, "poll_claim", claim_id=asked["claim_id"]))["status"] == "pending":
            pass
        if way != "stdio":
            assert polled["status"] == "approved", polled
            home = os.environ["HOME"]
            done = subprocess.run(["sh", "-c", polled["pickup"]["command"]], capture_output=True, text=True, check=True)
            file = done.stdout.strip().split("@")[1].split(" ")[0]
            assert file.startswith(home) and os.stat(file).st_mode & 0o777 == 0o600, file
            header = open(file).read().strip()
            assert header.split()[-1] not in done.stdout + done.stderr
            second = subprocess.run(["sh", "-c", polled["pickup"]["command"].replace("pickup_token", "pickup_tokem")], capture_output=True)
            assert second.returncode != 0
            polled = await call(session, "poll_claim", claim_id=asked["claim_id"], wait_seconds=0)
        assert polled["status"] == "delivered" and "•••@" in polled["approved_by"], polled
        key = polled["key"]
        if way == "stdio":
            assert os.stat(polled["stored_at"]).st_mode & 0o777 == 0o600
            await use_all(session, key)
            lacking = await call(session, "revoke_key", key_id="key_00000000000000000000000000")
            assert lacking["error"] == "insufficient_scope" and "keys:revoke" in lacking["next"], lacking
            no_secret(json.load(open(polled["stored_at"]))["key"])
            tell(key=key["id"], scopes=key["scopes"], stored=polled["stored_at"])
            if await told() == "revoked":
                refused = await call(session, "check_scope", scopes=[])
                assert refused["error"] == "invalid_key", refused
            else:
                await revoke(session, key)

    if way != "stdio":
        field, value = header.split(": ", 1)
        async with connect(era, way, where, headers={field: value}) as session:
            await use_all(session, key)
            no_secret(value.split()[-1])
            tell(key=key["id"], scopes=key["scopes"], header=file)
            if await told() == "revoke":
                await revoke(session, key)
    tell(refused=True)


async def told():
    """The end of the key: the human "revoked" it, or the agent is to "revoke" it."""
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def revoke(session, key):
    assert (await call(session, "revoke_key", key_id=key["id"]))["status"] == "revoked"


def no_secret(secret):
    assert all(secret not in line for line in transcript), "the key is in the transcript"


async def use_all(session, key):
    """What a key may ask about itself."""
    check = await call(session, "check_scope", scopes=["audience:read", "keys:write"])
    assert check["granted"] == ["audience:read"] and check["missing"] == ["keys:write"] and not check["allowed"], check
    assert check["key"]["id"] == key["id"], check
    listed = await call(session, "list_keys")
    assert [k["id"] for k in listed["keys"]] == [key["id"]], "without keys:read a key sees itself only"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
