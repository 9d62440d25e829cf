"""Score an answer against its reference: text, numbers, mathematics, code, and a judge for what rules cannot say."""
