"""A hook as a tool call over MCP, with the Python SDK on both sides.

``python3 mcp_calls.py``: each question is ``{"lanes": N, "calls": N, "payload": {...}}``, each answer
``{"us": [...], "seconds": TIME}``. ``python3 mcp_calls.py server`` is the server that it starts.
"""

import asyncio
import sys
import time

from measure import answer, questions, version


def serve():
    from mcp.server import MCPServer

    server = MCPServer("bench")

    @server.tool()
    def hook(payload: dict) -> dict:
        return {"decision": "approve", "tool": payload["tool_name"]}

    server.run("stdio")


async def sample(session, question):
    arguments = {"payload": question["payload"]}
    n_each = question["calls"] // question["lanes"]
    spans = []

    async def lane():
        for _ in range(n_each):
            started = time.perf_counter()
            result = await session.call_tool("hook", arguments)
            spans.append((time.perf_counter() - started) * 1e6)
            if "approve" not in result.content[0].text:
                raise RuntimeError(f"not the answer of the tool: {result}")

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(question["lanes"])))
    return {"us": spans, "seconds": time.perf_counter() - started}


async def measure():
    from mcp import ClientSession, StdioServerParameters, stdio_client

    server = StdioServerParameters(command=sys.executable, args=[__file__, "server"])
    async with stdio_client(server) as (incoming, outgoing):
        async with ClientSession(incoming, outgoing) as session:
            await session.initialize()
            answer({"mcp": version("mcp")})
            # Nothing is in flight while this waits for the next question.
            for question in questions():
                answer(await sample(session, question))


if __name__ == "__main__":
    if sys.argv[1:] == ["server"]:
        serve()
    else:
        asyncio.run(measure())
