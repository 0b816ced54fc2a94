"""Which adapter drives the agent that the settings name."""

from services.worker.agents.claude import ClaudeAgent
from services.worker.agents.protocol import Agent, SessionTools, StateStore
from services.worker.settings import WorkerSettings


def make_agent(settings: WorkerSettings, store: StateStore, tools: SessionTools) -> Agent:
    """Return the adapter for `settings.agent`, not started yet."""
    return ClaudeAgent(store, tools)
