"""Retrieval: find the texts that answer a question, by their words (BM25) or by a model's embeddings."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.datasets.faq import FAQEntry
    from llmasos.retrieval.bm25 import BM25
    from llmasos.retrieval.faq import FAQ, FAQAnswer
    from llmasos.retrieval.vector_index import VectorIndex, VectorMatches

__all__ = ["BM25", "FAQ", "FAQAnswer", "FAQEntry", "VectorIndex", "VectorMatches"]
lazy_exports(__name__)
