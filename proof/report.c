/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the unit in a server that is tested (plant.h): whoever does not know the number
 * cannot write one. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "proof/watch.h"

/* What follows the word on the line; NULL: it is another line. */
static const char *after(const char *line, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(line, word, length) != 0)
        return NULL;
    return line[length] == ' ' ? line + length + 1 : line[length] == '\0' ? line + length : NULL;
}

/* No server is tested without a network card but for our sake, so who waits for one fails. */
static bool waits_for_network(const char *unit)
{
    return strstr(unit, "-wait-online") != NULL;
}

static void add_failed(struct proof_report *report, const char *unit)
{
    size_t used = strlen(report->failed);
    if (!waits_for_network(unit) && used + strlen(unit) + 3 < sizeof(report->failed)) {
        if (used > 0)
            memcpy(report->failed + used, ", ", 3);
        strcat(report->failed, unit);
    }
}

static void read_line(struct proof_report *report, const char *line)
{
    const char *text;
    if (after(line, "up") != NULL)
        report->up = true;
    else if ((text = after(line, "state")) != NULL)
        blx_text_set(report->state, text);
    else if ((text = after(line, "failed")) != NULL)
        add_failed(report, text);
    else if ((text = after(line, "said")) != NULL)
        blx_text_set(report->said, text);
    else if ((text = after(line, "command")) != NULL)
        report->status = atoi(text);
    else if ((text = after(line, "alive")) != NULL)
        blx_text_set(report->answer, text);
    else if (after(line, "done") != NULL)
        report->done = true;
}

void proof_report_read(const char *text, const char *number, struct proof_report *report)
{
    char line[256];
    *report = (struct proof_report){.status = -1};
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        const char *end = text + length;
        if (length < sizeof(line) && *end == '\n') {
            memcpy(line, text, length);
            line[length] = '\0';
            blx_text_clean(line);
            const char *rest = after(line, "blxrep-test");
            rest = rest != NULL ? after(rest, number) : NULL;
            if (rest != NULL)
                read_line(report, rest);
        }
        text = end + (*end != '\0');
    }
}

void proof_report_add(struct proof_report *report, const struct proof_report *later)
{
    report->up = report->up || later->up;
    report->done = report->done || later->done;
    if (later->state[0] != '\0')
        blx_text_set(report->state, later->state);
    if (strlen(later->failed) > strlen(report->failed))
        blx_text_set(report->failed, later->failed);
    if (later->said[0] != '\0')
        blx_text_set(report->said, later->said);
    if (later->status != -1)
        report->status = later->status;
    if (later->answer[0] != '\0')
        blx_text_set(report->answer, later->answer);
}
