"""The answers as text for a terminal, and as the page ``docs/exercises.md`` with its figures."""

import pathlib
import re
import textwrap
from typing import Any, Dict, List, Mapping, Sequence

from d2l_recsys.exercises.answers import Answer
from d2l_recsys.reproduction.tables import aligned
from d2l_recsys.runs.results import environment
from d2l_recsys.sections.registry import SECTIONS
from d2l_recsys.storage.files import as_json, prepare_folder, write_files

PAGE, FIGURES, NUMBERS = "exercises.md", "exercises", "numbers.json"
TITLES = {
    "15.1": "Recommender systems",
    **{section.source: section.title for section in SECTIONS.values()},
}
OF_THE_TUTORIAL = "Questions of a tutorial"
INTRODUCTION = """# Exercises of the chapter, answered

Each answer has the command that gives it. The command does the runs, prints the tables, draws the
figures, and checks the answer against the runs. The questions are in our words. The last section
has the questions of a tutorial on recommender systems.

- A number with ± is the mean and the standard deviation over seeds. The seeds change the initial
  weights and the order of the batches, and for random splits also the test set.
- Each answer makes a few claims, which are checked. A claim compares two rows seed by seed. *Lower*
  holds if the 95 % interval of the mean difference (Student's t) lies below 0, *higher* if it lies
  above 0. *Not clearly different* holds if the interval contains 0: the runs show no difference,
  but there may be a small one.
- If two settings are equal, a claim of *lower* or *higher* still holds in one of forty cases. With
  three seeds, *not clearly different* says little.
- An interval tells how sure the comparison is for *these* users and items. It says nothing about
  other data.
- The runs are tested on the test set. To choose settings, use `--split validation`.
- `--first-seed 100` repeats an exercise with other seeds. `d2l-recsys sweep` answers questions of
  your own.
"""
CLICKS = (
    "The clicks of this page are MovieLens-100K as clicks (a rating of 4 or 5 is a click), because "
    "Criteo's and Avazu's files cannot be downloaded freely. With your copy, "
    "`d2l-recsys exercise {} --dataset criteo --data-dir DIR` does the same runs."
)
# A link in Markdown; its text is the first group.
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def command_of(number: str) -> str:
    """The command that answers an exercise."""
    return f"d2l-recsys exercise {number}"


def as_lines(answer: Answer) -> str:
    """The answer for a terminal."""
    blocks = [f"{answer.exercise.number}  {answer.exercise.question}"]
    for part in answer.parts:
        blocks += [part.title, part.table["simple"], "\n".join(part.notes)]
    if answer.checked:
        blocks.append("\n".join(f"- {checked}" for checked in answer.checked))
    blocks += _warning(answer)
    return "\n\n".join([*blocks, *map(_for_terminal, filter(None, answer.words.split("\n\n")))])


def _warning(answer: Answer) -> List[str]:
    """A line if the runs do not show all that the answer says."""
    missing = sum(checked.holds is not True for checked in answer.checked)
    if not missing:
        return []
    return [
        f"These runs do not show {missing} of the {len(answer.checked)} claims of the answer "
        "below. More seeds may show them."
    ]


def _for_terminal(paragraph: str) -> str:
    """A paragraph of Markdown as a terminal shows it: links are their texts, and tables aligned.

    Lines get an equal length, because numbers in place of their names leave short ones.
    """
    paragraph = LINK.sub(r"\1", paragraph)
    if paragraph.startswith("|"):
        headers, _, *rows = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in paragraph.splitlines()
        )
        return aligned(headers, rows, left=len(headers))
    if paragraph.startswith("- "):
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), 100)


def figure_names(answer: Answer) -> Dict[str, bytes]:
    """The figures of an answer by the names of their files."""
    figures = [content for part in answer.parts for content in part.figures.values()]
    return {f"{answer.exercise.number}-{i}.png": png for i, png in enumerate(figures, start=1)}


def markdown(answer: Answer, on_movielens: bool = True) -> str:
    """The part of the page that answers one exercise.

    ``on_movielens`` says whether the clicks are MovieLens-100K as clicks.
    """
    exercise, blocks = answer.exercise, []
    blocks.append(f"### {exercise.number} {exercise.question}")
    blocks += _warning(answer)
    if answer.words:
        blocks.append(answer.words)
    if exercise.parts:
        blocks.append(f"```\n{command_of(exercise.number)}\n```")
    if exercise.on_clicks and on_movielens:
        blocks.append(CLICKS.format(exercise.number))
    names = iter(figure_names(answer))
    for part in answer.parts:
        star = "\\*" * part.title.endswith("*")
        blocks += [f"**{part.title.rstrip('*')}**{star}", part.table["pipe"]]
        blocks += [f"![{title}]({FIGURES}/{next(names)})" for title in part.figures]
        blocks.append("\n".join(f"- {note}" for note in part.notes))
    if answer.checked:
        claims = "\n".join(f"- {checked}" for checked in answer.checked)
        blocks.append(f"Checked:\n\n{claims}")
    return "\n\n".join(blocks)


def page(answers: Sequence[Answer], on_movielens: bool = True) -> str:
    """The whole page, with a table of all exercises at its top."""
    rows = ["| exercise | question | command | runs |", "|---|---|---|---:|"]
    for answer in answers:
        number, question = answer.exercise.number, answer.exercise.question
        command = f"`{command_of(number)}`" if answer.exercise.parts else "in words"
        runs = str(answer.exercise.num_runs) if answer.exercise.parts else ""
        rows.append(f"| {number} | {question} | {command} | {runs} |")
    blocks: List[str] = [INTRODUCTION.rstrip("\n"), "\n".join(rows)]
    section = ""
    for answer in answers:
        if answer.exercise.section != section:
            section = answer.exercise.section
            of_chapter = section in TITLES
            blocks.append(
                f"## {section} {TITLES[section]}" if of_chapter else f"## {OF_THE_TUTORIAL}"
            )
        blocks.append(markdown(answer, on_movielens))
    return "\n\n".join(blocks) + "\n"


def document_of(answers: Sequence[Answer]) -> Dict[str, Any]:
    """The numbers of all answers, for JSON."""
    return {
        "environment": environment(),
        "exercises": {
            answer.exercise.number: {
                "question": answer.exercise.question,
                "parts": [part.document for part in answer.parts],
                "claims": [checked._asdict() for checked in answer.checked],
                "answer": answer.words,
            }
            for answer in answers
        },
    }


def write_answers(
    answers: Sequence[Answer], folder: pathlib.Path, on_movielens: bool = True
) -> List[pathlib.Path]:
    """Write the page, its figures and its numbers into ``folder``; return the written paths.

    The figures of a page from before are removed. Raises OutputError if a file cannot be written.
    """
    figures: Mapping[str, bytes] = {
        name: png for answer in answers for name, png in figure_names(answer).items()
    }
    below = prepare_folder(folder / FIGURES)
    write_files(below, {**figures, NUMBERS: as_json(document_of(answers))})
    write_files(folder, {PAGE: page(answers, on_movielens).encode("utf-8")})
    for former in set(below.glob("*.png")) - {below / name for name in figures}:
        former.unlink()
    return [folder / PAGE, *(below / name for name in [*figures, NUMBERS])]
