"""Counts words: one tool and one hook."""

import kodex

plugin = kodex.Plugin(
    "word-count",
    "0.1.0",
    "Counts the words of a text, and tells the agent when a prompt is long.",
    capabilities=["text.count"],
)

#: Prompts with more words than this are remarked upon unless the user sets `long` differently.
LONG = 500


@plugin.tool(
    "count",
    description="Counts the words, lines and characters of a text.",
    input_schema={
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
    read_only=True,
    idempotent=True,
)
def count(input):
    text = input.get("text")
    if not isinstance(text, str):
        raise kodex.ToolInputError("text must be a string")
    return {
        "words": len(text.split()),
        "lines": len(text.splitlines()),
        "characters": len(text),
    }


@plugin.hook("prompt.submit", timeout="500ms")
def remark(payload, ctx):
    n_words = len(str(payload.get("prompt", "")).split())
    limit = ctx.config.get("long", LONG)
    if n_words <= limit:
        return None
    ctx.log.info("long prompt", words=n_words)
    return {"context": f"The prompt has {n_words} words; answer its last question first."}
