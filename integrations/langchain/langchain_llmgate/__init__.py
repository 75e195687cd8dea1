"""LangChain over llmgate: one chat model in front of many."""

from __future__ import annotations

from langchain_llmgate.chat_model import ChatLLMGate
from langchain_llmgate.feedback import FeedbackCallback, call_id_of
from langchain_llmgate.initialise import init_llmgate

__all__ = ["ChatLLMGate", "FeedbackCallback", "call_id_of", "init_llmgate"]
