# SPDX-License-Identifier: Apache-2.0
# Makes blxrep-protocol(7) from PROTOCOL.md, so that there is one text. It knows only the Markdown that is used there: headings,
# paragraphs, lists with "-", tables, blocks indented by four or more, **bold**, *italic* and `code`.
#
#   awk -f man.awk PROTOCOL.md >blxrep-protocol.7

function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/'/, "\\(aq", text)
    gsub(/~/, "\\(ti", text)
    gsub(/\^/, "\\(ha", text)
    return text ~ /^\./ ? "\\&" text : text
}

# The text between two marks gets the font. Marks come in pairs, within a line or over several lines.
function styled(text,    out, at) {
    text = escaped(text)
    while ((at = match(text, /\*\*|\*|`/)) > 0) {
        out = out substr(text, 1, at - 1)
        if (substr(text, at, 2) == "**") {
            out = out (bold ? "\\fR" : "\\fB")
            bold = !bold
        } else {
            out = out (code ? "\\fR" : "\\fI")
            code = !code
        }
        text = substr(text, at + RLENGTH)
    }
    return out text
}

function enter(next_part) {
    if (part == next_part)
        return
    if (part == "block")
        print ".EE\n.RE"
    if (part == "table")
        print ".TE"
    part = next_part
    if (part == "block")
        print ".PP\n.RS 2\n.EX"
    if (part == "paragraph")
        print ".PP"
}

function heading(macro, text) {
    enter("heading")
    gsub(/`/, "", text)
    print macro " \"" escaped(text) "\""
}

function row(    cells, count, i, line) {
    count = split(substr($0, 3, length($0) - 4), cells, " [|] ")
    if (part != "table") {
        enter("table")
        print ".PP\n.TS\nallbox;"
        for (i = 1; i <= count; i++)
            line = line (i > 1 ? " lbx" : "lb")
        print line
        gsub(/b/, "", line)
        print line "."
    }
    for (i = 1; i <= count; i++)
        printf("%sT{\n%s\nT}", (i > 1 ? "\t" : ""), styled(cells[i]))
    print ""
}

BEGIN {
    print "'\\\" t\n.\\\" Made from proto/PROTOCOL.md by proto/man.awk."
    print ".TH BLXREP\\-PROTOCOL 7 \"\" \"blxrep\" \"Miscellaneous Information\""
    print ".SH NAME\nblxrep\\-protocol \\- what agents, dispatcher and blxrep say to each other"
    print ".SH DESCRIPTION"
    part = "heading"
}
/^# / { next }
/^## / { heading(".SH", toupper(substr($0, 4))); next }
/^### / { heading(".SS", substr($0, 5)); next }
/^\|[-|]+$/ { next }
/^\|/ { row(); next }
/^ *$/ { blank = 1; if (part == "block") empty++; else if (part == "table" || part == "paragraph" || part == "item") enter(""); next }
/^    / && (part == "block" || blank) {
    while (part == "block" && empty-- > 0)
        print ""
    enter("block")
    empty = 0
    blank = 0
    print escaped(substr($0, 5))
    next
}
/^- / { enter("item"); print ".IP \\(bu 2\n" styled(substr($0, 3)); blank = 0; next }
{
    if (part != "item")
        enter("paragraph")
    sub(/^ +/, "")
    print styled($0)
    blank = 0
}
END {
    enter("")
    print ".SH SEE ALSO\n.BR blxrep (1),\n.BR blxrep\\-agent (8),\n.BR blxrep\\-dispatcher (8)"
}
