"""Interview pages: what ships cites what exists, the lab's numbers come from the ledger alone, and a mistake
is one sentence with file, line and field.
"""

import json
import re
import subprocess
import sys

import pytest
import yaml

from llmlab import cli, paths
from llmlab.errors import UserError
from llmlab.ledger import CLAIMS, table
from llmlab.ledger.caveats import CAVEATS
from llmlab.learn import drills, interview, latex
from llmlab.learn.notebook import bibliography

PAGES = {c: interview.interview(c) for c in interview.chapters()}
EVERY = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
LAB, SCALE = "What the lab shows", "What is known at scale"


def written(page) -> dict:
    """The file as it is."""
    return yaml.safe_load((paths.data() / "interview" / f"{page.chapter}.yaml").read_text(encoding="utf-8"))


# --- what ships
# -------------------------------------------------------------------------------------------------------


def test_every_chapter_has_a_page():
    assert list(PAGES) == [f"{n:02}" for n in range(12)]


@EVERY
def test_claims_exist_and_may_be_quoted(page):
    assert len(page.claims) >= 3 and set(page.claims) <= set(CLAIMS)
    assert all(CAVEATS[c].quote for c in page.claims if c in CAVEATS), "a caveat forbids to quote it"
    assert all(CLAIMS[c].chapter == page.chapter for c in page.claims)


@EVERY
def test_cited_keys_exist_and_stand_in_the_sources(page):
    assert set(page.cites) <= set(bibliography()) and all(s.cites for s in page.scale)
    told = interview.markdown(page)
    assert all(bibliography()[key]["title"].replace("{", "").replace("}", "") in told for key in page.cites)


@EVERY
def test_the_lab_part_of_the_file_is_ids_and_nothing_else(page):
    assert set(written(page)) == {"chapter", "opening", "formulas", "claims", "scale", "follow_ups"}
    assert all(re.fullmatch(r"C\d{3}", c) for c in written(page)["claims"])


@EVERY
def test_every_number_of_the_lab_comes_from_the_ledger(page):
    rows = {r.claim.id: r for r in table.rows(list(page.claims))}
    assert [item.head.split()[0] for item in page.lab()] == list(page.claims)
    for item in page.lab():
        row = rows[item.head.split()[0]]
        known = " ".join([row.claim.id, row.claim.words, table.ruling(row), *row.effects, row.caveat])
        for said in (item.head, *item.lines, item.note):
            assert set(re.findall(r"\d[\d.]*", said)) <= set(re.findall(r"\d[\d.]*", known))
        assert set(row.effects) <= set(item.lines) and item.note == row.caveat


@EVERY
def test_lab_and_scale_are_apart(page):
    """Nothing under 'known at scale', in the formulas or in the answers speaks of this lab's runs."""
    ours = re.compile(r"\b(Verania|C\d{3}|we measured|our runs?|ours|seeds show)\b")
    said = [s.says for s in page.scale] + [f.answer for f in page.follow_ups] + [page.opening]
    assert not [s for s in said if ours.search(s)]
    assert "never as a fact about large models" in page.sections()[LAB][0]


@EVERY
def test_a_page_has_everything(page):
    assert len(page.formulas) >= 5 and len(page.scale) >= 5 and len(page.follow_ups) == 3
    assert all(f.means.endswith(".") and (f.cite or f.place) for f in page.formulas)
    assert all(len(f.answer) > 150 and f.question.endswith("?") for f in page.follow_ups)


@EVERY
def test_the_prose_is_plain(page):
    document = written(page)
    said = [document["opening"], *(s["says"] for s in document["scale"])]
    said += [text for f in document["follow_ups"] for text in f.values()]
    said += [f[part] for f in document["formulas"] for part in ("name", "means", "ours") if part in f]
    for words in said:
        assert not re.search(r"[\u2013\u2014]|TODO|\s[,.;?]|  |now and then|stands for", words), words


def test_the_clipped_minimum_is_not_given_to_methods_without_one():
    by_name = {f.name: f.latex for f in PAGES["07"].formulas}
    without = ("REINFORCE with a baseline", "RLOO", "CISPO")
    assert all(r"\min" not in by_name[name] for name in without)
    assert sum(r"\min\left(" in f for f in by_name.values()) >= 4
    ramp = next(f for f in PAGES["07"].formulas if "overlong" in f.name)
    assert "4,096 of 20,480" in ramp.means and "second half" in ramp.ours


# --- three ways to see it
# ------------------------------------------------------------------------------------------------------------


@EVERY
def test_the_terminal_gets_plain_text(page):
    told = repr(page)
    assert not re.search(r"\\|\$|[_^]\{|<(p|b|div|details)\b", told)
    assert all(f.name in told and latex.plain(f.latex)[:20] in told for f in page.formulas)
    assert all(len(line) <= interview.WIDTH for line in told.splitlines())
    assert told.index(LAB.upper()) < told.index(SCALE.upper()) < told.index("THREE FOLLOW-UPS")


@EVERY
def test_a_notebook_gets_formulas_in_latex_and_folded_answers(page):
    told = page._repr_html_()
    assert told.count("$$") == 2 * len(page.formulas) and told.count("<details>") == 3
    assert all(f"$${f.latex}$$" in page._repr_markdown_() for f in page.formulas)


def test_texts_are_escaped():
    page = interview.Page("07", "<script>", (), ("C040",), (), (drills.FollowUp("<b>?", "<i>"),))
    assert "<script>" not in interview.html(page) and "&lt;b&gt;?" in interview.html(page)


@pytest.mark.parametrize("state, fix", [("stale", "don't quote it; llmlab claims run C040"), ("", "stale")])
def test_a_verdict_that_is_not_current_says_so(state, fix, monkeypatch):
    monkeypatch.setattr(table.Row, "current", property(lambda self: not state))
    (row,) = table.rows(["C040"])
    assert (fix in interview.lab_item(row).lines[0]) == bool(state)


def test_a_verdict_that_may_not_be_quoted_says_so(monkeypatch):
    monkeypatch.setattr(table.Row, "current", property(lambda self: True))
    (row,) = table.rows(["C016"])
    assert "don't quote it as a whole" in interview.lab_item(row).lines[0]


@pytest.mark.parametrize(
    "key, who",
    [
        ("williams_1992", "Williams 1992"),
        ("allen_zhu_2023", "Allen-Zhu and Li 2023"),
        ("ibrahim_2024", "Ibrahim et al. 2024"),
        ("schulman_2025", "Schulman and Thinking Machines Lab 2025"),
    ],
)
def test_a_short_citation(key, who):
    assert interview.short(key) == who


PLAIN = {
    r"\frac{1}{|y_i|} \sum_{t=1}^{|y_i|} \log p": "1/|y_i| Σ[t=1..|y_i|] log p",
    r"\frac{\pi_\theta(y \mid x)}{\pi_{\theta_{\text{old}}}(y \mid x)}": "π_θ(y | x)/π_θ_old(y | x)",
    r"\hat{A}_{i,t} = \frac{r_i - \operatorname{mean}(r)}{2}": "Â_i,t = (r_i - mean(r))/2",
    r"\begin{cases} 0, & n < 1 \\ -1, & n \ge 1 \end{cases}": "{0, n < 1; -1, n ≥ 1}",
    r"\binom{n-c}{k}": "choose(n-c, k)",
    r"\sqrt{\frac{p\,(1 - p)}{n}}": "√((p (1 - p))/n)",
    r"\mathbb{E}\left[ x \right]": "E[x]",
    r"\{r_1, \ldots, r_G\}": "{r_1, …, r_G}",
    r"95 \%": "95 %",
}


@pytest.mark.parametrize("formula, line", PLAIN.items())
def test_latex_becomes_one_readable_line(formula, line):
    assert latex.plain(formula) == line


# --- mistakes in a file
# -----------------------------------------------------------------------------------------------------

GOOD = """chapter: "07"
opening: I check the reward first.
formulas:
  - name: PPO
    latex: x
    means: The clip.
    cite: ppo_2017
claims: [C085]
scale:
  - says: It holds.
    cites: [gao_2022]
follow_ups:
  - {question: "One?", answer: One.}
  - {question: "Two?", answer: Two.}
  - {question: "Three?", answer: Three.}
"""
THIRD = '  - {question: "Three?", answer: Three.}\n'
BROKEN = {  # old, new, line, field, fix
    "formula without a source": ("    cite: ppo_2017\n", "", 4, "formulas[0].cite", "is missing; add it, or"),
    "unknown claim": ("[C085]", "[C999]", 8, "claims[0]", "is 'C999', which the ledger does not have"),
    "no claim id": ("[C085]", "[85 points]", 8, "claims[0]", "write it like C040"),
    "claim with a number": ("[C085]", "[{C085: 57}]", 8, "claims[0]", "must be text"),
    "unknown key": ("[gao_2022]", "[nobody_2030]", 11, "scale[0].cites[0]", "which data/references.bib does"),
    "unknown source": ("ppo_2017", "ppo_2018", 7, "formulas[0].cite", "which data/references.bib does"),
    "known at scale, says nobody": (
        "[gao_2022]",
        "[]",
        11,
        "scale[0].cites",
        "has 0 entries; write at least 1",
    ),
    "two follow-ups": (THIRD, "", 12, "follow_ups", "has 2 entries; write at least 3"),
    "four follow-ups": (THIRD, THIRD + THIRD.replace("Three", "Four"), 12, "follow_ups", "keep at most 3"),
    "field unknown": ("opening:", "openning: x\nopening:", 2, "openning", "did you mean opening?"),
    "opening missing": ("opening: I check the reward first.\n", "", 1, "opening", "is missing; add it"),
    "meaning empty": ("means: The clip.", "means:", 6, "formulas[0].means", "is empty; write text"),
    "another chapter": ('"07"', '"02"', 1, "chapter", "the file's name begins otherwise"),
    "no YAML": ("latex: x", "latex: [x", 6, "file", "is not valid YAML"),
}


def test_the_good_file_is_good(tmp_path):
    (tmp_path / "07.yaml").write_text(GOOD)
    page = interview.read(tmp_path / "07.yaml")
    assert page.claims == ("C085",) and page.cites == ["ppo_2017", "gao_2022"] and repr(page)


@pytest.mark.parametrize("old, new, line, field, fix", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_names_line_field_and_fix(old, new, line, field, fix, tmp_path):
    assert GOOD.count(old) == 1
    (tmp_path / "07.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(drills.BadEntry) as caught:
        interview.read(tmp_path / "07.yaml")
    assert (caught.value.line, caught.value.field) == (line, field) and fix in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / '07.yaml'}, line {line}, field '{field}' ")


# --- the command
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["07", "7"])
def test_the_command_prints_the_page(named, capsys):
    assert cli.main(["interview", named]) == 0
    out, err = capsys.readouterr()
    assert not err and out.rstrip("\n") == repr(PAGES["07"]) and "C085" in out


def test_the_command_speaks_json(capsys):
    assert cli.main(["interview", "02", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["lab"]) == told["claims"] and len(told["follow_ups"]) == 3 and told["formulas"]


WRONG = {
    "no chapter": ([], "which chapter? llmlab interview 00 | 01 | 02"),
    "unknown chapter": (["77"], "chapter '77' has no interview page; choose one of 00, 01, 02"),
    "unknown flag": (["07", "--jsn"], "unknown option '--jsn'; did you mean --json?"),
}


@pytest.mark.parametrize("argv, fix", WRONG.values(), ids=WRONG)
def test_wrong_words_get_one_line(argv, fix, capsys):
    assert cli.main(["interview", *argv]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and fix in err


def test_an_unknown_chapter_is_a_sentence():
    with pytest.raises(UserError, match="has no interview page"):
        interview.interview("99")


@pytest.mark.parametrize("name", ["llmlab.learn.interview", "llmlab.cli.interview"])
def test_importing_is_light(name):
    code = f"import sys, {name}; assert not {{'torch', 'transformers', 'matplotlib'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
