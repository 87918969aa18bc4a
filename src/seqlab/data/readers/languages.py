"""Languages by their codes and names: `en`, `EN-GB`, `eng` and `English` are one."""

import re
from collections.abc import Iterable

_NAMES = """
af afr afrikaans|am amh amharic|ar ara arabic العربية|az aze azerbaijani|be bel belarusian
bg bul bulgarian български|bn ben bengali|bs bos bosnian|ca cat catalan català|cs ces cze czech čeština
cy cym wel welsh cymraeg|da dan danish dansk|de deu ger german deutsch|el ell gre greek ελληνικά
en eng english|eo epo esperanto|es spa spanish español espanol|et est estonian eesti
eu eus baq basque euskara|fa fas per persian farsi|fi fin finnish suomi
fr fra fre french français francais|ga gle irish gaeilge|gl glg galician galego|gu guj gujarati
he heb hebrew עברית|hi hin hindi हिन्दी|hr hrv croatian hrvatski|hu hun hungarian magyar
hy hye arm armenian|id ind indonesian|is isl ice icelandic íslenska|it ita italian italiano
ja jpn japanese 日本語|ka kat geo georgian|kk kaz kazakh|km khm khmer|ko kor korean 한국어|la lat latin
lt lit lithuanian lietuvių|lv lav latvian latviešu|mk mkd mac macedonian|ml mal malayalam
mn mon mongolian|mr mar marathi|ms msa may malay|mt mlt maltese|my mya bur burmese|nb nob bokmål
ne nep nepali|nl nld dut dutch nederlands|nn nno nynorsk|no nor norwegian norsk|pa pan punjabi
pl pol polish polski|pt por portuguese português portugues|ro ron rum romanian română
ru rus russian русский|si sin sinhala|sk slk slo slovak slovenčina|sl slv slovenian slovenščina
sq sqi alb albanian shqip|sr srp serbian српски|sv swe swedish svenska|sw swa swahili|ta tam tamil
te tel telugu|th tha thai|tl tgl tagalog|tr tur turkish türkçe|uk ukr ukrainian українська|ur urd urdu
uz uzb uzbek|vi vie vietnamese|zh zho chi chinese 中文
"""
"""A line or `|` between languages: the code of ISO 639-1, those of ISO 639-2, and names."""

CODES = {name: names.split()[0] for names in re.split(r"[|\n]", _NAMES.strip()) for name in names.split()}
"""The code of every name."""

_REGION = re.compile(r"[a-z]{2}|\d{3}|(?:hans|hant|latn|cyrl|arab)(?:-[a-z]{2})?")

COMMON_WORDS = {
    "de": "der die das und ist nicht ein eine ich sie es zu den mit wir er",
    "en": "the and is not a an i you it to of in we he she they",
    "es": "el la los las y es no un una que de en yo con por ella",
    "fr": "le la les et est ne pas un une je vous il elle de du nous",
    "it": "il la gli e non un una che di in io sono per lo lei noi",
    "nl": "de het een en is niet ik je van dat wij hij zij te op met",
    "pt": "o a os as e não um uma que de em eu com ele ela nós",
}
"""A few words that hardly a text in the language does without."""


def plain_name(name: str) -> str:
    """A name without what people write in different ways: case, blanks at its ends, `_` for `-`."""
    return name.strip().casefold().replace("_", "-")


def language_of(name: str) -> tuple[str, str] | None:
    """Code and region: `("en", "")` of English, `("en", "gb")` of `en_GB`; None for what names no known language."""
    plain = plain_name(name)
    if plain in CODES:
        return CODES[plain], ""
    code, _, region = plain.partition("-")
    return (CODES[code], region) if code in CODES and _REGION.fullmatch(region) else None


def same_language(one: str, other: str) -> bool:
    """Whether two names mean one language, where a region that only one of them has does not count."""
    if plain_name(one) == plain_name(other):
        return True
    first, second = language_of(one), language_of(other)
    if first is None or second is None or first[0] != second[0]:
        return False
    return not (first[1] and second[1]) or first[1] == second[1]


SCRIPTS = {
    "ja": re.compile(r"[\u3041-\u30ff]"),  # kana; few Japanese sentences do without
    "zh": re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"),
    "ko": re.compile(r"[\u1100-\u11ff\uac00-\ud7a3]"),
    "th": re.compile(r"[\u0e01-\u0e5b]"),
    "lo": re.compile(r"[\u0e81-\u0edf]"),
    "km": re.compile(r"[\u1780-\u17dd]"),
    "my": re.compile(r"[\u1000-\u109f]"),
}
"""Characters that tell an Asian language."""


def likely_language(texts: Iterable[str]) -> str | None:
    """The code of the language whose script, or else whose common words, the texts have; None: no clear one."""
    text = " ".join(texts).casefold()
    found = {code: len(pattern.findall(text)) for code, pattern in SCRIPTS.items()}
    if 2 * sum(found.values()) > sum(map(str.isalpha, text)):
        japanese = 20 * found["ja"] > found["ja"] + found["zh"] > 0
        return "ja" if japanese else max(found, key=found.__getitem__)
    words = re.findall(r"\w+", text)
    counts = sorted(((sum(word in known.split() for word in words), code) for code, known in COMMON_WORDS.items()))
    (second, _), (most, code) = counts[-2:]
    return code if most >= 3 and most > 1.5 * second else None
