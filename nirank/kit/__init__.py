"""The kit that plugins build with: compiled functions, OpenVINO graphs, files that appear whole, progress, hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.execution.indexes import Former as Former
    from nirank.execution.shards.hosts import ShardGone as ShardGone
    from nirank.execution.shards.hosts import ShardSilent as ShardSilent
    from nirank.execution.shards.losses import note_lost as note_lost
    from nirank.execution.shards.served import OpenShard as OpenShard
    from nirank.execution.shards.served import ShardFailure as ShardFailure
    from nirank.execution.shards.served import ShardOpening as ShardOpening
    from nirank.execution.stages import encode as encode
    from nirank.execution.stages import encode_documents as encode_documents
    from nirank.execution.stages import score as score
    from nirank.files import beside as beside
    from nirank.files import cache_folder as cache_folder
    from nirank.files import write_header as write_header
    from nirank.hashing import digest as digest
    from nirank.hashing import weights_digest as weights_digest
    from nirank.hints import fits as fits
    from nirank.kit import bounded as bounded
    from nirank.kit import calibration as calibration
    from nirank.kit import chunks as chunks
    from nirank.kit import quantised as quantised
    from nirank.kit import ragged_files as ragged_files
    from nirank.kit import transformers as transformers
    from nirank.kit.answers import Answers as Answers
    from nirank.kit.answers import thoughtless as thoughtless
    from nirank.kit.described import Described as Described
    from nirank.kit.described import peer_model as peer_model
    from nirank.kit.described import peer_text as peer_text
    from nirank.kit.described import run_peer as run_peer
    from nirank.kit.described import save_peer as save_peer
    from nirank.kit.endpoint import Asking as Asking
    from nirank.kit.endpoint import Endpoint as Endpoint
    from nirank.kit.endpoint import Served as Served
    from nirank.kit.native import Native as Native
    from nirank.kit.numba import column_at as column_at
    from nirank.kit.numba import compiled as compiled
    from nirank.kit.numba import inner as inner
    from nirank.kit.openvino import WORTH_COMPILING as WORTH_COMPILING
    from nirank.kit.openvino import Fast as Fast
    from nirank.kit.openvino import Graph as Graph
    from nirank.kit.openvino import Runtime as Runtime
    from nirank.kit.openvino import choose_runtime as choose_runtime
    from nirank.kit.openvino import evenly as evenly
    from nirank.kit.openvino import kept_in as kept_in
    from nirank.kit.openvino import refuse_modules as refuse_modules
    from nirank.kit.openvino import side_by_side as side_by_side
    from nirank.kit.openvino import token_examples as token_examples
    from nirank.kit.openvino import token_states as token_states
    from nirank.kit.openvino import trace as trace
    from nirank.kit.quiet_openvino import import_openvino as import_openvino
    from nirank.kit.quiet_openvino import openvino_installed as openvino_installed
    from nirank.kit.remembered import Memory as Memory
    from nirank.kit.rest import API_KEY as API_KEY
    from nirank.kit.rest import BEARER as BEARER
    from nirank.kit.rest import KEY_OR_BASIC as KEY_OR_BASIC
    from nirank.kit.rest import PASSING as PASSING
    from nirank.kit.rest import AwayForNow as AwayForNow
    from nirank.kit.rest import HTTPClient as HTTPClient
    from nirank.kit.rest import Refusal as Refusal
    from nirank.kit.rest import import_httpx as import_httpx
    from nirank.kit.rest import in_lines as in_lines
    from nirank.kit.trial import TEXTS as TEXTS
    from nirank.kit.trial import tried as tried
    from nirank.kit.word_pieces import learned_tokenizer as learned_tokenizer
    from nirank.kit.word_pieces import texts_of as texts_of
    from nirank.progress import progress as progress
    from nirank.progress import tell as tell
    from nirank.seals import check_all as check_all
    from nirank.threads import bound_threads as bound_threads
    from nirank.threads import processors as processors

_HOMES = {
    "nirank.execution.indexes": ["Former"],
    "nirank.execution.shards.hosts": ["ShardGone", "ShardSilent"],
    "nirank.execution.shards.losses": ["note_lost"],
    "nirank.execution.shards.served": ["OpenShard", "ShardFailure", "ShardOpening"],
    "nirank.execution.stages": ["encode", "encode_documents", "score"],
    "nirank.files": ["beside", "cache_folder", "write_header"],
    "nirank.hashing": ["digest", "weights_digest"],
    "nirank.hints": ["fits"],
    "nirank.kit": ["bounded", "calibration", "chunks", "quantised", "ragged_files", "transformers"],
    "nirank.kit.answers": ["Answers", "thoughtless"],
    "nirank.kit.described": ["Described", "peer_model", "peer_text", "run_peer", "save_peer"],
    "nirank.kit.endpoint": ["Asking", "Endpoint", "Served"],
    "nirank.kit.native": ["Native"],
    "nirank.kit.numba": ["column_at", "compiled", "inner"],
    "nirank.kit.openvino": [
        "Fast",
        "Graph",
        "Runtime",
        "WORTH_COMPILING",
        "choose_runtime",
        "evenly",
        "kept_in",
        "refuse_modules",
        "side_by_side",
        "token_examples",
        "token_states",
        "trace",
    ],
    "nirank.kit.quiet_openvino": ["import_openvino", "openvino_installed"],
    "nirank.kit.remembered": ["Memory"],
    "nirank.kit.rest": [
        "API_KEY",
        "AwayForNow",
        "BEARER",
        "HTTPClient",
        "KEY_OR_BASIC",
        "PASSING",
        "Refusal",
        "import_httpx",
        "in_lines",
    ],
    "nirank.kit.trial": ["TEXTS", "tried"],
    "nirank.kit.word_pieces": ["learned_tokenizer", "texts_of"],
    "nirank.progress": ["progress", "tell"],
    "nirank.seals": ["check_all"],
    "nirank.threads": ["bound_threads", "processors"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
