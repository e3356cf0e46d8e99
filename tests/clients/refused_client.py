"""The real Python client with OAuth switched on and a key of its configuration that is refused; prints what its human would
read. Usage: refused_client.py URL KEY
"""

import asyncio
import importlib.metadata
import logging
import sys

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientMetadata

try:
    import httpx2 as httpx
except ImportError:
    import httpx
try:
    from mcp.client.streamable_http import streamable_http_client
except ImportError:
    streamable_http_client = None


class Nothing:
    """Keeps no tokens and no client."""

    async def get_tokens(self):
        return None

    async def set_tokens(self, tokens):
        pass

    async def get_client_info(self):
        return None

    async def set_client_info(self, info):
        pass


async def nowhere(*_):
    raise AssertionError("the client opens a browser")


class Given(OAuthClientProvider):
    """With the key of the configuration, as long as there are no tokens."""

    def __init__(self, key, **settings):
        super().__init__(**settings)
        self.key = key

    async def async_auth_flow(self, request):
        request.headers.setdefault("Authorization", f"Bearer {self.key}")
        flow = super().async_auth_flow(request)
        answer = await anext(flow)
        while True:
            try:
                answer = await flow.asend((yield answer))
            except StopAsyncIteration:
                return


def told(error):
    """Every message of an error and of those it holds."""
    yield str(error)
    for inner in getattr(error, "exceptions", ()):
        yield from told(inner)


async def main(url, key):
    metadata = OAuthClientMetadata(redirect_uris=["http://127.0.0.1:9/callback"], client_name="a test")
    provider = Given(
        key, server_url=url, client_metadata=metadata, storage=Nothing(), redirect_handler=nowhere, callback_handler=nowhere
    )
    logging.disable(logging.CRITICAL)
    try:
        async with httpx.AsyncClient(auth=provider, timeout=10) as client:
            async with streamable_http_client(url, http_client=client) as streams:
                async with ClientSession(streams[0], streams[1]) as session:
                    await asyncio.wait_for(session.initialize(), 10)
        print("connected")
    except BaseException as error:
        print(importlib.metadata.version("mcp"), *(text.replace("\n", " ") for text in told(error)))


asyncio.run(main(*sys.argv[1:]))
