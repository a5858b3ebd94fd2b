"""Keeps notes: a database with a journal, a few values, and a lock."""

import re
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import kodex
from kodex import db, state

plugin = kodex.Plugin(
    "notes",
    "0.1.0",
    "Keeps notes in a database of its own and reminds of those that fit a prompt.",
    capabilities=["notes.keep"],
)
plugin.database("migrations")

TAG = re.compile(r"#(\w+)")
#: Shorter words of a prompt fit too many notes.
WORD = re.compile(r"\w{4,}")
#: A note is shown to a session once in this time.
SHOWN_FOR = 3600
BATCH = 100
MOST = 50


@plugin.tool("add_note", description="Keeps a note. Words that begin with # become its tags.")
def add_note(input, ctx):
    text = given(input, "text").strip()
    if not text:
        raise kodex.ToolInputError("the text is empty")
    note = uuid4().hex[:12]
    # Note and tags become visible together, or not at all.
    with db.transaction():
        db.execute(
            "INSERT INTO notes (id, text, added_at) VALUES (?, ?, ?)", [note, text, now(ctx)]
        )
        n_tags = add_tags(note, text)
    state.update("n_added", lambda n: n + 1, 0)
    ctx.log.info("note added", note=note, tags=n_tags)
    return {"id": note, "tags": tags_of(text)}


@plugin.tool(
    "find_notes", description="Finds the notes that hold a word or have a tag.", read_only=True
)
def find_notes(input):
    if "tag" in input:
        rows = db.query(
            "SELECT n.id, n.text FROM notes n JOIN tags t ON t.note = n.id"
            " WHERE t.tag = :tag ORDER BY n.added_at DESC, n.id LIMIT :most",
            {"tag": given(input, "tag").lstrip("#").lower(), "most": MOST},
        )
    else:
        rows = notes_with(given(input, "word") if "word" in input else "")
    return {"notes": rows.dicts(), "n_added": state.get("n_added", 0)}


@plugin.tool("forget_note", description="Forgets a note by its id.", destructive=True)
def forget_note(input):
    return {"forgotten": db.execute("DELETE FROM notes WHERE id = ?", [given(input, "id")])}


@plugin.tool(
    "forget_old_notes", description="Forgets all notes older than so many days.", destructive=True
)
def forget_old_notes(input, ctx):
    days = input.get("days")
    if type(days) is not int or days < 0:
        raise kodex.ToolInputError("days must be a whole number from 0 up")
    before, n_forgotten = now(ctx) - timedelta(days=days), 0
    try:
        # One at a time, however many agents ask; in batches, so that nobody else waits for long.
        with state.lock("forget_old_notes", ttl=30) as lease:
            while n := forget_before(before):
                n_forgotten += n
                lease.renew(30)
            state.set("forgotten_at", ctx.clock.unix_ms(), under=lease)
    except kodex.StateLocked:
        raise kodex.ToolInputError(
            "somebody forgets old notes right now; ask again later"
        ) from None
    return {"forgotten": n_forgotten}


@plugin.hook("prompt.submit", timeout="1s")
def remind(payload, ctx):
    """A chain: the reply is the prompt for the next plugin, whole."""
    session = str(payload.get("session_id", ""))
    words = dict.fromkeys(word.lower() for word in WORD.findall(str(payload.get("prompt", ""))))
    fitting = {row["id"]: row["text"] for word in list(words)[:10] for row in notes_with(word, 3)}
    new = [
        text
        for note, text in fitting.items()
        if state.set_if_absent(f"shown/{session}/{note}", True, ttl=SHOWN_FOR)
    ]
    if not new:
        return None
    reminder = "Notes of the user that may matter:\n" + "\n".join(f"- {text}" for text in new)
    return {**payload, "context": [*payload.get("context", []), reminder]}


@plugin.step("0003_tag_old_notes")
def tag_old_notes(step):
    last, n_scanned, n_migrated = step.progress or "", 0, 0
    while True:
        # What a batch does and how far it came are two things: after a crash in between it is done
        # again, which is why adding a tag twice must do no harm.
        rows = db.query(
            "SELECT id, text FROM notes WHERE id > ? ORDER BY id LIMIT ?", [last, BATCH]
        )
        if not rows:
            return {"scanned": n_scanned, "migrated": n_migrated}
        with db.transaction():
            n_migrated += sum(add_tags(row["id"], row["text"]) > 0 for row in rows)
        last, n_scanned = rows[-1]["id"], n_scanned + len(rows)
        step.save(last, scanned=n_scanned, migrated=n_migrated)


def notes_with(word, most=MOST):
    # What LIKE would read as a pattern is only a sign here.
    pattern = re.sub(r"([\\%_])", r"\\\1", word.lower())
    return db.query(
        "SELECT id, text FROM notes WHERE lower(text) LIKE ? ESCAPE '\\'"
        " ORDER BY added_at DESC, id LIMIT ?",
        [f"%{pattern}%", most],
    )


def add_tags(note, text):
    return sum(
        db.execute(
            "INSERT INTO tags (note, tag) VALUES (?, ?) ON CONFLICT (note, tag) DO NOTHING",
            [note, tag],
        )
        for tag in tags_of(text)
    )


def forget_before(before):
    return db.execute(
        "DELETE FROM notes WHERE id IN (SELECT id FROM notes WHERE added_at < ? LIMIT ?)",
        [before, BATCH],
    )


def tags_of(text):
    return sorted({tag.lower() for tag in TAG.findall(text)})


def now(ctx):
    return datetime.fromtimestamp(ctx.clock.now(), timezone.utc)


def given(input, name):
    value = input.get(name)
    if not isinstance(value, str):
        raise kodex.ToolInputError(f"{name} must be a text")
    return value
