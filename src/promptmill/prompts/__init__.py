"""Prompts -> requests: what exactly is sent."""
