"""Makes the fonts of the PDF out of their originals: `python make.py INTER_FOLDER DEJAVU_FOLDER OUT`.

Needs fonttools. Inter 3.19 (OFL-1.1, no reserved name) and DejaVu Sans Mono 2.37 (Bitstream Vera licence); what stands
beside this file are subsets without hints, and Inter's figures are its tabular ones.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

LATIN = [(0x20, 0x7E), (0xA0, 0x24F), (0x2B0, 0x2FF), (0x1E00, 0x1EFF)]
GREEK_CYRILLIC = [(0x370, 0x3FF), (0x400, 0x52F)]
SIGNS = [(0x2010, 0x205E), (0x20A0, 0x20BF), (0x2116, 0x2122), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x25A0, 0x25FF), (0x2713, 0x2717)]
OTHERS = [(0x530, 0x58F), (0x10D0, 0x10FF), (0x2500, 0x259F), (0xFFFD, 0xFFFD)]


def cut(source, target, ranges, tabular):
    font = TTFont(source)
    if tabular:
        names = set(font.getGlyphOrder())
        for table in font["cmap"].tables:
            for code in range(0x30, 0x3A):
                name = table.cmap.get(code)
                if name and f"{name}.tf" in names:
                    table.cmap[code] = f"{name}.tf"
    options = subset.Options(hinting=False, layout_features=[], glyph_names=False, notdef_outline=True, name_IDs=[0, 1, 2, 4, 5, 6, 13, 14])
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "DSIG", "STAT", "meta"]
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[c for a, b in ranges for c in range(a, b + 1)])
    cutter.subset(font)
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    font.save(target)
    print(target, target.stat().st_size)


inter, dejavu, out = map(Path, sys.argv[1:4])
for weight in ["Regular", "SemiBold"]:
    cut(inter / f"Inter-{weight}.ttf", out / f"Inter-{weight}.ttf", LATIN + GREEK_CYRILLIC + SIGNS, True)
cut(dejavu / "DejaVuSansMono.ttf", out / "DejaVuSansMono.ttf", LATIN + GREEK_CYRILLIC + SIGNS + OTHERS, False)
