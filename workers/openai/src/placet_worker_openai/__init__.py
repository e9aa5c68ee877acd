"""The worker of queue placet-openai: deep pre-screens and fallbacks."""
