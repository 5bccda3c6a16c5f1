"""Chat templates are data: what transformers makes of them is made, and what attacks try comes to nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from seetell.core.errors import BundleInvalid, MissingExtra, UsageError
from seetell.tasks.chat import template as module
from seetell.tasks.chat.template import TemplateRenderer

MARK = "\ue000"
MESSAGES = [
    {"role": "system", "content": "Be <brief> & 'kind'."},
    {"role": "user", "content": ' What is 是 in "x"?\n'},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is."},
    {"role": "user", "content": "And?"},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
# Written for this test, in the ways of the templates there are.
TEMPLATES = {
    "turns": "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m.content + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "blocks are trimmed": "{{ bos_token }}\n{% for m in messages %}\n    {% if m.role == 'user' %}\n"
    "U: {{ m.content | trim }}\n    {% elif loop.last %}\n never\n    {% else %}\n"
    "{{- m.role | upper ~ ': ' ~ m.content }}{{ eos_token }}\n    {% endif %}\n{% endfor %}\nA:",
    "namespaces and slices": "{%- set ns = namespace(last=-1) -%}{%- for m in messages[::-1] -%}"
    "{%- set index = (messages | length - 1) - loop.index0 -%}{%- if ns.last < 0 and m.role == 'user' -%}"
    "{%- set ns.last = index -%}{%- endif -%}{%- endfor -%}{{ ns.last }}"
    "{%- for m in messages %}{% set content = m.content %}{% if '</think>' in content %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}[{{ content }}]{% endfor %}",
    "macros, breaks and JSON": "{% macro turn(m) %}<{{ m.role }}>{{ m | tojson }}{% endmacro %}"
    "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ turn(m) }}{% endfor %}"
    "{{ messages[0] | tojson(indent=2) }}{{ tools is defined }}{{ messages | selectattr('role', 'equalto', "
    "'user') | list | length }}",
}


@pytest.fixture
def renderers() -> Iterator[Any]:
    made: list[TemplateRenderer] = []

    def make(template: str) -> TemplateRenderer:
        made.append(TemplateRenderer("m", template, TOKENS))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_makes_what_it_makes_in_transformers(name: str, renderers: Any) -> None:
    (expected,), _ = render_jinja_template(
        [MESSAGES], chat_template=TEMPLATES[name], add_generation_prompt=True, **TOKENS
    )
    renderer = renderers(TEMPLATES[name])
    assert renderer.render(MESSAGES, marker=MARK) == expected
    # The process is kept, and what one conversation was is nothing to the next.
    assert renderer.render(MESSAGES[:2], marker=MARK) != expected
    assert renderer.render(MESSAGES, marker=MARK) == expected


ATTACKS = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch PLACE') }}",
    "attr": "{{ (''|attr('__class__')).__base__ }}",
    "format": "{{ '{0.__class__.__base__}'.format(messages) }}",
    "the clock's globals": "{{ strftime_now.__globals__['signal'].alarm(1) }}",
    "import": "{% import 'os' as os %}{{ os }}",
    "include": "{% include 'PLACE' %}",
    "changes": "{{ messages.append(1) }}",
    "a long range": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a huge power": "{{ 9 ** (9 ** (9 ** 9)) }}",
    "a huge text": "{{ 'x' * 10 ** 10 }}",
    "a wide format": "{{ '%9999999999d' % 1 }}",
    "doubling": "{% set ns = namespace(a='xx') %}{% for i in range(60) %}"
    "{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
    "much text": "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "itself": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "no template": "{% for",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_do_nothing(name: str, renderers: Any, tmp_path: Path) -> None:
    place = tmp_path / "was-here"
    renderer = renderers(ATTACKS[name].replace("PLACE", str(place)))
    with pytest.raises(BundleInvalid, match=r"m: its chat template (fails|does not come)") as caught:
        renderer.render(MESSAGES, marker=MARK)
    assert "\n" not in str(caught.value)
    assert not place.exists()


def test_what_the_sandbox_leaves_undefined_is_nothing(renderers: Any) -> None:
    renderer = renderers("{{ ''.__class__ }}{{ raise_exception.__globals__ }}{{ nothing }}")
    assert renderer.render(MESSAGES, marker=MARK) == ""


def test_an_attack_ends_its_own_process_and_the_next_template_has_another(renderers: Any) -> None:
    renderer = renderers("{% if messages | length > 3 %}" + ATTACKS["a long range"] + "{% endif %}fine")
    assert renderer.render(MESSAGES[:1], marker=MARK) == "fine"
    with pytest.raises(BundleInvalid, match="does not come to an end within 2 s"):
        renderer.render(MESSAGES, marker=MARK)
    assert renderer.render(MESSAGES[:1], marker=MARK) == "fine"


def test_keys_of_servers_are_not_passed_on(renderers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    renderer = renderers("fine")
    renderer.render(MESSAGES, marker=MARK)
    environment = Path(f"/proc/{renderer._process.pid}/environ")
    if not environment.exists():
        pytest.skip("this system does not show the environment of a process")
    assert b"sk-secret" not in environment.read_bytes()
    assert b"PATH=" in environment.read_bytes()


def test_a_refusal_of_the_template_is_the_callers_matter(renderers: Any) -> None:
    renderer = renderers(
        "{% if messages[0].role != 'user' %}{{ raise_exception('Users first!') }}{% endif %}x"
    )
    with pytest.raises(UsageError, match="m cannot be talked to like that: Users first!"):
        renderer.render(MESSAGES, marker=MARK)
    assert renderer.render(MESSAGES[1:], marker=MARK) == "x"


def test_todays_date(renderers: Any) -> None:
    text = renderers("{{ strftime_now('%Y') }}").render(MESSAGES, marker=MARK)
    assert text in (time.strftime("%Y"), str(int(time.strftime("%Y")) - 1))


def test_the_mark_may_not_stand_in_the_template(renderers: Any) -> None:
    with pytest.raises(BundleInvalid, match=r"U\+E000"):
        renderers(f"a{MARK}b").render(MESSAGES, marker=MARK)


def test_a_closed_renderer_leaves_no_process(renderers: Any) -> None:
    renderer = renderers("fine")
    renderer.render(MESSAGES, marker=MARK)
    pid = renderer._process.pid
    renderer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_jinja2(renderers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="jinja2 is needed to talk to a model"):
        renderers("fine").render(MESSAGES, marker=MARK)
