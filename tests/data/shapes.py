"""The shapes in which models answer with code, and the same programs with what they return altered."""

import textwrap

FENCE = "```"


def fenced(code, language="python"):
    return f"Here is my solution:\n\n{FENCE}{language}\n{code.strip(chr(10))}\n{FENCE}\n\nIt runs in O(n). Enjoy!"


def of_function(code):
    """Shape -> answer, for a whole program."""
    bare = code.strip("\n")
    return {
        "function": code,
        "fenced": fenced(code),
        "fenced without language": fenced(code, ""),
        "fenced, with an example after it": f"{fenced(code)}\n\n{FENCE}python\nprint('an example')\n{FENCE}\n",
        "fenced, with a shell before it": f"{FENCE}bash\npip install nothing\n{FENCE}\n\n{fenced(code, 'py')}",
        "fenced, never closed": f"Sure.\n{FENCE}python\n{bare}\n",
        "prose around it": f"Sure! Here is the function.\n\n{bare}\n\nThis works, as it handles every case (even []).",
        "begin and done": f"[BEGIN]\n{bare}\n[DONE]\nThe code above is right.",
        "after thinking": f"<think>\ndef wrong():\n    pass\n</think>\n{fenced(code)}",
    }


def of_body(body):
    """Shape -> answer, for the body of a function whose head the prompt gave."""
    plain = textwrap.dedent(body)
    return {
        "body": body,
        "body without indentation": plain,
        "body by two": textwrap.indent(plain, "  "),
        "body by tabs": textwrap.indent(plain, "\t"),
        "body by eight": textwrap.indent(plain, " " * 8),
        "body that the prompt began": body.lstrip(" "),
        "body in a fence": fenced(body),
        "body with more after it": f"{body}\n\nif __name__ == '__main__':\n    print('done')\n",
    }


ALTERED = """

def _altered(function):
    depth = [0]

    def other(*arguments, **options):
        depth[0] += 1
        try:
            value = function(*arguments, **options)
        finally:
            depth[0] -= 1
        if depth[0]:
            return value
        if type(value) is bool:
            return not value
        if type(value) in (int, float, complex):
            return value + 1
        if type(value) in (str, list, tuple):
            return value + type(value)("x")
        return {"altered": value} if value is not None else 0

    return other


for _name in NAMES:
    if _name in globals():
        globals()[_name] = _altered(globals()[_name])
"""


def altered(program, names):
    """The program, whose functions of these names return something else."""
    return program.replace("\r\n", "\n") + ALTERED.replace("NAMES", repr(sorted(names)))
