"""Names of languages -> codes: ISO 639-1 where it has one, else the code that fastText's lid.176 uses.

Data sets write `English`, `en`, `en-US`, `EN` or `eng`; `code_of` makes `en` of all of them. A region or script
(`pt-BR`, `zh_Hant`, `Chinese (Simplified)`) is not told apart.
"""

from __future__ import annotations

import re
from functools import lru_cache

_TABLE = """
af Afrikaans/afr; als Alemannic; am Amharic/amh; an Aragonese; ar Arabic/ara; arz Egyptian Arabic; as Assamese;
ast Asturian; av Avaric; az Azerbaijani/aze; azb South Azerbaijani; ba Bashkir; bar Bavarian; bcl Central Bikol;
be Belarusian/bel; bg Bulgarian/bul; bh Bihari; bn Bengali/Bangla/ben; bo Tibetan/bod; bpy Bishnupriya; br Breton;
bs Bosnian/bos; bxr Buryat; ca Catalan/cat; cbk Chavacano; ce Chechen; ceb Cebuano; ckb Central Kurdish/Sorani;
co Corsican; cs Czech/ces/cze; cv Chuvash; cy Welsh/cym; da Danish/dan; de German/deu/ger; diq Dimli; dsb Lower Sorbian;
dty Doteli; dv Divehi/Dhivehi; el Greek/Modern Greek/ell/gre; eml Emilian; en English/eng; eo Esperanto/epo;
es Spanish/Castilian/spa; et Estonian/est; eu Basque/eus; fa Persian/Farsi/fas/per; fi Finnish/fin; fr French/fra/fre;
frr North Frisian; fy Western Frisian/Frisian; ga Irish/gle; gd Scottish Gaelic/Gaelic; gl Galician/glg; gn Guarani;
gom Goan Konkani; gu Gujarati/guj; gv Manx; ha Hausa; haw Hawaiian; he Hebrew/heb/iw; hi Hindi/hin; hif Fiji Hindi;
hmn Hmong; hr Croatian/hrv; hsb Upper Sorbian; ht Haitian/Haitian Creole; hu Hungarian/hun; hy Armenian/hye;
ia Interlingua; id Indonesian/ind; ie Interlingue; ig Igbo; ilo Iloko; io Ido; is Icelandic/isl; it Italian/ita;
ja Japanese/jpn; jbo Lojban; jv Javanese/jav; ka Georgian/kat; kk Kazakh/kaz; kl Greenlandic; km Khmer/khm;
kn Kannada/kan; ko Korean/kor; krc Karachay; ku Kurdish/kur; kv Komi; kw Cornish; ky Kyrgyz/Kirghiz; la Latin/lat;
lb Luxembourgish; lez Lezgian; li Limburgish; lmo Lombard; lo Lao/lao; lrc Northern Luri; lt Lithuanian/lit;
lv Latvian/lav; mai Maithili; mg Malagasy; mhr Eastern Mari; mi Maori; min Minangkabau; mk Macedonian/mkd;
ml Malayalam/mal; mn Mongolian/mon; mr Marathi/mar; mrj Western Mari; ms Malay/msa; mt Maltese/mlt; mwl Mirandese;
my Burmese/mya; myv Erzya; mzn Mazanderani; nah Nahuatl; nap Neapolitan; nb Norwegian Bokmal/Norwegian Bokmål/nob;
nds Low German; ne Nepali/nep; new Newari; nl Dutch/Flemish/nld/dut; nn Norwegian Nynorsk/Nynorsk/nno; no Norwegian/nor;
ny Nyanja/Chichewa; oc Occitan/oci; or Odia/Oriya; os Ossetic; pa Punjabi/Panjabi/pan; pam Pampanga; pfl Palatine;
pl Polish/pol; pms Piedmontese; pnb Western Punjabi; ps Pashto/pus; pt Portuguese/por; qu Quechua; rm Romansh;
ro Romanian/ron/rum; ru Russian/rus; rue Rusyn; rw Kinyarwanda; sa Sanskrit/san; sah Sakha/Yakut; sc Sardinian;
scn Sicilian; sco Scots; sd Sindhi; sh Serbo-Croatian; si Sinhala/Sinhalese; sk Slovak/slk; sl Slovenian/Slovene/slv;
sm Samoan; sn Shona; so Somali; sq Albanian/sqi; sr Serbian/srp; st Southern Sotho/Sotho; su Sundanese; sv Swedish/swe;
sw Swahili/swa; ta Tamil/tam; te Telugu/tel; tg Tajik; th Thai/tha; tk Turkmen; tl Tagalog/Filipino/tgl; to Tongan;
tr Turkish/tur; ts Tsonga; tt Tatar; tyv Tuvan; ug Uyghur/Uighur; uk Ukrainian/ukr; ur Urdu/urd; uz Uzbek/uzb;
vec Venetian; vep Veps; vi Vietnamese/vie; vls West Flemish; vo Volapuk; wa Walloon; war Waray; wo Wolof; wuu Wu;
xal Kalmyk; xh Xhosa; xmf Mingrelian; yi Yiddish; yo Yoruba; yue Cantonese; zh Chinese/Mandarin/zho/chi/cmn; zu Zulu
"""


def _read(table: str) -> tuple[dict[str, str], dict[str, str]]:
    codes: dict[str, str] = {}
    names: dict[str, str] = {}
    for entry in table.replace("\n", " ").split(";"):
        code, _, rest = entry.strip().partition(" ")
        first, *others = rest.split("/")
        names[code] = first
        codes |= dict.fromkeys([code, first.lower(), *(other.lower() for other in others)], code)
    return codes, names


CODES, NAMES = _read(_TABLE)
"""Every known word in lower case -> its code; each code -> its English name."""


@lru_cache(maxsize=4096)
def code_of(word: str) -> str | None:
    """The code of a language's name or code in any of the usual spellings; None if it is none that is known.

    >>> code_of("English"), code_of("en-US"), code_of("deu"), code_of("Klingon")
    ('en', 'en', 'de', None)
    """
    lower = " ".join(word.lower().split())
    found = CODES.get(lower)
    if found is None:
        # `en-us`, `zh_hant`, `chinese (simplified)`: the part before the region or script
        found = CODES.get(re.split(r"[-_(]", lower, maxsplit=1)[0].strip())
    return found
