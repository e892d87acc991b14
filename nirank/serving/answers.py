"""Requests and answers of the server, as OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nirank.serving.searching import DEEPEST, LONGEST, LONGEST_CONDITION, MOST

#: A query, the name of a pipeline or a field, the id of a document.
Text = Annotated[str, Field(max_length=LONGEST)]
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Names = Annotated[list[Name], Field(max_length=100)]
Count = Annotated[int, Field(ge=1, le=MOST, description="How many documents are shown.")]
Offset = Annotated[int, Field(ge=0, le=DEEPEST - 1, description="How many documents are left out before them.")]
Condition = Annotated[
    str, Field(max_length=LONGEST_CONDITION, description="A condition on fields, such as `year >= 2020`.")
]


class Request(BaseModel):
    """The base of requests: a key that is not known is refused, and `"1"` in the place of a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


#: The three ways to search, of which one is chosen: the others are null or left out.
_WAYS = ("query", "image", "document")
_ONE_OF_THEM: dict[str, Any] = {
    "oneOf": [
        {"required": [way], "properties": {one: {"type": "string" if one == way else "null"} for one in _WAYS}}
        for way in _WAYS
    ]
}


class SearchRequest(Request):
    """A search: by a text, by an image (a data URL), or by a document, for more of its kind."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_THEM)

    query: Text | None = None
    image: str | None = Field(None, description="An image as a data URL, `data:image/png;base64,...`.")
    document: Name | None = Field(None, description="The id of a document: search with its text or its image.")
    pipelines: Names = Field(default_factory=list, description="Names of pipelines; all unless given.")
    k: Count = 10
    offset: Offset = 0
    where: Condition | None = None
    fields: Names | None = Field(None, description="The fields that are shown; all but `text` unless given.")
    snippets: bool = True

    @model_validator(mode="after")
    def _one_query(self) -> SearchRequest:
        """Refuse none, and several."""
        if sum(getattr(self, way) is not None for way in _WAYS) != 1:
            raise ValueError("one of query, image and document is expected")
        return self


class ExplainRequest(Request):
    """A question why a document has its score."""

    query: Text
    pipeline: Name
    document: Name


class Fault(BaseModel):
    """An answer that refuses: what happened, and what to do."""

    detail: str


class About(BaseModel):
    """A description of what is served."""

    name: str
    version: str
    documents: int
    corpus: str = Field(description="The fingerprint of the documents.")
    pipelines: list[PipelineAbout]
    fields: list[str]
    images: bool
    queries: int
    judged: bool
    annotate: bool
    living: bool
    nirank: str


class PipelineAbout(BaseModel):
    """A pipeline by its name, and its expression."""

    name: str
    expression: str


class SnippetAnswer(BaseModel):
    """A part of a document's text, and in it the words of the query: begin and end, in characters of the document."""

    text: str
    start: int
    stop: int
    matches: list[tuple[int, int]]


class Hit(BaseModel):
    """A document that was found; `places` are its ranks from the other pipelines, null where it is not among them."""

    rank: int
    id: str
    score: float | None = Field(description="Null where it is infinite.")
    title: str | None
    fields: dict[str, str | bool | int | float | None]
    snippet: SnippetAnswer | None
    image: str | None = Field(description="The path of a small picture.")
    places: dict[str, int | None]


class Stage(BaseModel):
    """The milliseconds of a stage."""

    stage: str
    milliseconds: float


class Milliseconds(BaseModel):
    """The time of a search, of all requests that were searched together, in all and by stage."""

    total: float
    stages: list[Stage]


class PipelineHits(BaseModel):
    """A page of what a pipeline found; `found` counts the documents that were found down to the depth searched."""

    pipeline: str
    hits: list[Hit]
    found: int
    more: bool
    lost: list[str] = Field(description="The shards of an index that did not answer: documents may be missing.")
    milliseconds: Milliseconds


class SearchAnswer(BaseModel):
    """The documents that were found, by pipeline."""

    query: str | None
    version: str
    results: list[PipelineHits]


class ExplainAnswer(BaseModel):
    """Why a document has its score; `explanation` is what `nirank search --explain --json` gives."""

    query: str
    document: str
    pipeline: str
    score: float | None
    version: str
    explanation: dict[str, Any]
    text: str | None


class DocumentAnswer(BaseModel):
    """A document with its fields."""

    id: str
    title: str | None
    text: str | None
    fields: dict[str, str | bool | int | float | None]
    image: str | None


class Health(BaseModel):
    """The server runs."""

    status: str
    version: str
