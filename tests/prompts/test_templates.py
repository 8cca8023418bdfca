"""A template from a stranger can insert, choose and repeat; everything else does not exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.prompts.templates import TemplateRefused, compile_template

NAMES = frozenset({"text", "texts", "taxonomy"})

ATTACKS = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ text.__class__ }}",
    "{{ text['__class__'] }}",
    "{{ text['__cla' 'ss__'] }}",
    "{{ text['__cla' ~ 'ss__'] }}",
    '{{ text["\\x5f\\x5fclass\\x5f\\x5f"] }}',
    "{{ text|attr('__class__') }}",
    "{{ text|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ texts|map(attribute='__class__')|list }}",
    "{{ texts|map('attr', '__class__')|list }}",
    "{{ texts|selectattr('__class__')|list }}",
    "{{ texts|groupby('__class__') }}",
    "{{ texts|pick('x')|xmlattr }}",
    "{{ config.items() }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ request.application.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner.__init__ }}",
    "{{ namespace() }}",
    "{{ range(10**9)|list }}",
    "{{ dict(a=1) }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ text.format() }}",
    "{{ '{0.__class__}'.format(text) }}",
    "{{ '%c'|format(65) }}",
    "{{ text.upper() }}",
    "{{ text() }}",
    "{{ (text)() }}",
    "{{ context }}",
    "{{ environment }}",
    "{{ caller() }}",
    "{{ super() }}",
    "{{ varargs }}",
    "{{ _ }}",
    "{% import 'os' as os %}",
    "{% from 'a' import b %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'base' %}",
    "{% block x %}{% endblock %}",
    "{% macro m() %}{{ m() }}{% endmacro %}",
    "{% call text() %}{% endcall %}",
    "{% set x = text.__class__ %}{{ x }}",
    "{% set ns %}a{% endset %}",
    "{% with a = text %}{{ a }}{% endwith %}",
    "{% filter upper %}a{% endfilter %}",
    "{% autoescape true %}a{% endautoescape %}",
    "{% do text.append(1) %}",
    "{% debug %}",
    "{% for a in texts recursive %}{{ loop(a) }}{% endfor %}",
    "{% for a in texts %}{{ loop.__class__ }}{% endfor %}",
    "{% for a in texts %}{{ loop._iterator }}{% endfor %}",
    "{% for a in texts %}{{ loop.cycle('a') }}{% endfor %}",
    "{% for a in texts %}{% for b in texts %}x{% endfor %}{% endfor %}",
    "{% for a, b in texts %}x{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ 9**9**9 }}",
    "{{ 2 + 2 }}",
    "{{ -text }}",
    "{{ text ~ text }}",
    "{{ text[::2] }}",
    "{{ text[text] }}",
    "{{ {'a': text} }}",
    "{{ 'a'|center(10**9) }}",
    "{{ text|indent(999999999) }}",
    "{{ text|truncate(999999999) }}",
    "{{ texts|join(text) }}",
    "{{ texts|join('" + "x" * 1000 + "') }}",
    "{{ text|tojson|tojson|tojson|tojson }}",
    "{{ text|default(*texts) }}",
    "{{ text is sameas(none) }}",
    "{{ text is filter }}",
    "{{ text is callable }}",
    "{{ " + "(" * 5000 + "text" + ")" * 5000 + " }}",
    "{{ " + "not " * 5000 + "text }}",
    "{% if text %}" * 200 + "{% endif %}" * 200,
    "{{ text }}" * 3000,
    "{{ " + "9" * 5000 + " }}",
    "{{ 1e999 }}",
    "{{ undeclared }}",
    "{{ text",
    "{% if text %}",
    "{% endfor %}",
]


@pytest.mark.parametrize("payload", ATTACKS, ids=range(len(ATTACKS)))
def test_an_attack_is_refused_with_its_line(payload: str) -> None:
    """No payload of the usual collections compiles, and the refusal names a line of the template."""
    with pytest.raises(TemplateRefused) as error:
        compile_template(f"\n\n{payload}", variables=NAMES)

    assert error.value.reason
    assert error.value.line in {1, 3}


@pytest.mark.parametrize(
    "payload",
    ["${7*7}", "<%= 7*7 %>", "#{7*7}", "{7*7}", "@(7*7)", "{{ '{{ 7*7 }}' }}", "{% raw %}{{ 7*7 }}{% endraw %}"],
)
def test_other_template_languages_are_plain_text(payload: str) -> None:
    """What is no Jinja2 is not computed."""
    rendered = compile_template(payload, variables=NAMES).render({"fence token": "0" * 16})

    assert "49" not in rendered
    assert "7*7" in rendered


def test_what_authors_need_compiles() -> None:
    """Choosing, one loop, keys, defaults and the listed filters are there."""
    source = (
        "{% if text is defined and text != '' %}{{ text | trim | truncate(80) }}{% elif texts %}none{% endif %}"
        "{% for row in texts if row.id not in ['x'] %}{{ loop.index }}/{{ loop.length }} {{ row['id'] | upper }}"
        "{% else %}empty{% endfor %}{{ taxonomy.categories | pick('name') | join(', ') }}"
        "{{ 'yes' if text else 'no' }}{{ texts | length }}{{ texts[0].id | default('-') }}"
    )

    rendered = compile_template(source, variables=NAMES).render(
        {
            "text": " hello ",
            "texts": [{"id": "a"}, {"id": "x"}],
            "taxonomy": {"categories": [{"name": "bug"}, {"name": "other"}]},
            "fence token": "0" * 16,
        }
    )

    words = [line for line in rendered.splitlines() if "DATA" not in line]
    assert words == ["hello", "A", "bug, other", "yes", "a"]
    assert "1/1" in rendered


@given(st.text(alphabet="{}%#|()[].'\"_~*+-, \nabctext0123456789", max_size=60))
def test_any_source_compiles_or_is_refused(source: str) -> None:
    """There is no third outcome, such as an error of the template engine or of Python."""
    outcome: object
    try:
        outcome = compile_template(source, variables=NAMES)
    except TemplateRefused as refused:
        outcome = refused.reason

    assert outcome
