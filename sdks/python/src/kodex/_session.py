"""The types of what a job may know of a session that has ended. For annotations alone."""

from __future__ import annotations

from typing import Literal, TypedDict


class Place(TypedDict):
    """A place where a session takes place."""

    kind: str
    address: str


class _Message(TypedDict):
    role: Literal["user", "assistant"]
    text: str
    #: ``instruction``: the wish of whoever began the turn. ``context``: something that was there.
    authority: Literal["instruction", "context"]


class Message(_Message, total=False):
    """Something that was said."""

    #: Who exactly, where the host knows.
    actor: str
    #: In milliseconds since 1970-01-01 UTC.
    at_ms: int


class _Tool(TypedDict):
    name: str
    is_error: bool


class Tool(_Tool, total=False):
    """A tool that was called."""

    text: str


class Session(TypedDict):
    """What a job may know of a session: the current turn alone, cleaned by the host."""

    conversation_id: str
    session_id: str
    #: 0 where it is not known.
    began_at_ms: int
    completed_at_ms: int
    source: Place
    visibility: Literal["private", "public"]
    messages: list[Message]
    tools: list[Tool]
