"""How a prompt reads for an agent."""

from .protocol import Prompt


def prompt_text(prompt: Prompt) -> str:
    """Return the prompt's text; attachments are named by their paths, for the agent to read."""
    names = [f"- {each.path} ({each.media_type})" for each in prompt.attachments]
    return "\n".join((prompt.text, "", "Attached files:", *names)) if names else prompt.text
