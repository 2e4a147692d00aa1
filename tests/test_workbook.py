"""The learner's notebooks: copied once, renewed while untouched, never overwritten once changed."""

import json
import os

import pytest

from llmlab.learn import books, readme, workbook
from llmlab import cli, paths


@pytest.fixture
def wheel(tmp_path, monkeypatch, home):
    """A package that was installed from a wheel, with two small notebooks; the folder that holds them."""
    folder = tmp_path / "_shipped" / "notebooks"
    folder.mkdir(parents=True)
    for name in ("00_start.ipynb", "02_more.ipynb"):
        (folder / name).write_text(f"{name}, first version")
    monkeypatch.setattr(paths, "SHIPPED", folder.parent)
    return folder


def test_in_a_clone_the_notebooks_are_opened_where_they_are(home):
    assert workbook.place() == (paths.PACKAGE.parent / "notebooks", []) and not home.exists()


def test_a_clone_makes_copies_in_a_named_folder(home, tmp_path):
    folder, told = workbook.place(str(tmp_path / "mine"))
    assert folder == tmp_path / "mine" and told == [f"your notebooks are in {folder}"]
    names = {p.name for p in (paths.PACKAGE.parent / "notebooks").glob("*.ipynb")}
    assert {p.name for p in folder.glob("*.ipynb")} == names


def test_an_installed_package_copies_into_the_users_data_folder(wheel, home):
    folder, told = workbook.place()
    assert folder == home / "notebooks" and str(folder) in told[0]
    assert (folder / "02_more.ipynb").read_text() == "02_more.ipynb, first version"


def test_a_new_version_renews_what_was_not_changed_and_keeps_the_rest(wheel):
    folder, _ = workbook.place()
    (folder / "02_more.ipynb").write_text("my answers")
    (folder / "my_own.ipynb").write_text("mine")
    assert workbook.place()[1][1:] == [], "no newer version, so there is nothing to tell"
    for book in wheel.iterdir():
        book.write_text("second version")
    for _ in range(2):
        _, told = workbook.place()
        assert (folder / "00_start.ipynb").read_text() == "second version"
        assert (folder / "02_more.ipynb").read_text() == "my answers"
        assert (folder / "my_own.ipynb").read_text() == "mine"
        assert len(told) == 2 and told[1].startswith("02_more.ipynb: your own version is kept")
    (folder / "02_more.ipynb").unlink()
    assert workbook.place()[1][1:] == []
    assert (folder / "02_more.ipynb").read_text() == "second version"


@pytest.mark.parametrize("note", [None, "", "[1]", '{"00_start.ipynb": "0"}'])
def test_a_file_of_unknown_origin_is_the_users(note, wheel, home):
    folder = home / "notebooks"
    folder.mkdir(parents=True)
    (folder / "00_start.ipynb").write_text("who knows")
    if note is not None:
        (folder / workbook.NOTED).write_text(note)
    _, told = workbook.place()
    assert (folder / "00_start.ipynb").read_text() == "who knows" and len(told) == 2
    assert set(json.loads((folder / workbook.NOTED).read_text())) >= {"02_more.ipynb"}


def test_lab_opens_the_copy(wheel, home, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.extend(arguments))
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "")
    cli.main(["lab", "--chapter", "02", "--no-browser"])
    assert f"--notebook-dir={home / 'notebooks'}" in started
    assert str(home / "notebooks" / "02_more.ipynb") in started
    assert str(home / "notebooks") in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, fix",
    [
        (["lab", "--chapter", "99"], "there is no chapter '99'; choose one of 00, 02"),
        (["lab", "--folder", "FILE"], "is a file; name a folder for the notebooks"),
        (
            ["build", "readme"],
            "llmlab build needs a clone of the repository; clone it and run: pip install -e .",
        ),
        (["build", "--check"], "llmlab build needs a clone"),
        (["bench", "--only", "serving", "--save"], "llmlab bench --save needs a clone"),
    ],
)
def test_what_an_installed_package_cannot_do_is_a_sentence(argv, fix, wheel, tmp_path, capsys, home):
    (tmp_path / "file").write_text("")
    assert cli.main([str(tmp_path / "file") if a == "FILE" else a for a in argv]) == 2
    out, err = capsys.readouterr()
    assert fix in err and err.count("\n") == 1 and not out
    assert not (home / "notebooks").exists()


def test_the_builders_say_themselves_that_they_need_a_clone(wheel):
    with pytest.raises(paths.NoClone, match="llmlab build notebooks needs a clone"):
        next(books.build())
    with pytest.raises(paths.NoClone, match="llmlab build readme needs a clone"):
        readme.build()


def test_how_to_install_an_extra(monkeypatch, tmp_path):
    assert paths.extra("demo") == "pip install -e '.[demo]'"
    monkeypatch.setattr(paths, "SHIPPED", tmp_path)
    assert paths.extra("demo") == "pip install 'llmlab[demo]'"
