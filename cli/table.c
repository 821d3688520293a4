/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/screen.h"

enum {
    GAP = 2,
    INDENT = 4, /* of folded columns */
};

static int make_room(struct cli_table *table)
{
    if (table->cell_count + table->column_count <= table->cell_capacity)
        return 0;
    size_t capacity = 2 * table->cell_capacity + table->column_count;
    char **grown = reallocarray(table->cells, capacity, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    table->cells = grown;
    table->cell_capacity = capacity;
    return 0;
}

void cli_table_fit(struct cli_table *table, FILE *out)
{
    struct cli_screen screen;
    cli_screen_look(&screen);
    table->out = out;
    table->max_width = screen.columns;
}

int cli_table_add(struct cli_table *table, const char *const *texts)
{
    size_t bytes[CLI_TABLE_MAX_COLUMNS], total = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        bytes[i] = strlen(texts[i]) + 1;
        total += bytes[i];
    }
    char *row = make_room(table) == 0 ? malloc(total) : NULL;
    if (row == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < table->column_count; i++) {
        table->cells[table->cell_count++] = memcpy(row, texts[i], bytes[i]);
        row += bytes[i];
    }
    return 0;
}

struct layout {
    bool shown[CLI_TABLE_MAX_COLUMNS];
    bool folded; /* the columns from fold_from on */
    size_t widths[CLI_TABLE_MAX_COLUMNS];
};

static bool says_something(const char *cell)
{
    return cell[0] != '\0' && strcmp(cell, "-") != 0;
}

/* Of the columns that stand in a row. */
static size_t row_end(const struct cli_table *table, const struct layout *layout)
{
    return layout->folded ? table->fold_from : table->column_count;
}

static size_t total_width(const struct cli_table *table, const struct layout *layout)
{
    size_t total = 0;
    for (size_t i = 0; i < row_end(table, layout); i++)
        total += layout->shown[i] ? layout->widths[i] + GAP : 0;
    return total > GAP ? total - GAP : 0;
}

static void lay_out(const struct cli_table *table, struct layout *layout)
{
    *layout = (struct layout){0};
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->column_count;
        size_t length = strlen(table->cells[i]);
        if (length > layout->widths[column])
            layout->widths[column] = length;
        if (table->max_width == 0 || (i >= table->column_count && says_something(table->cells[i])))
            layout->shown[column] = true;
    }
    if (table->max_width == 0)
        return;
    layout->folded = table->fold_from > 0 && total_width(table, layout) > table->max_width;
    for (size_t i = 0; i < table->spare_count; i++) {
        if (total_width(table, layout) <= table->max_width)
            break;
        layout->shown[table->spare[i]] = false;
    }
}

static void print_row(const struct cli_table *table, const struct layout *layout, size_t row,
                      FILE *out)
{
    size_t blanks = 0; /* before the next cell that is not empty */
    char *const *cells = table->cells + row * table->column_count;
    for (size_t i = 0; i < row_end(table, layout); i++) {
        if (!layout->shown[i])
            continue;
        size_t length = strlen(cells[i]);
        if (length > 0) {
            fprintf(out, "%*s%s", (int)blanks, "", cells[i]);
            blanks = 0;
        }
        blanks += layout->widths[i] - length + GAP;
    }
    fputc('\n', out);
}

/* The folded cells of a row, below it. Returns the number of lines; `out` NULL: only counts. */
static size_t print_folded(const struct cli_table *table, const struct layout *layout, size_t row,
                           FILE *out)
{
    char text[1024] = "";
    size_t used = 0;
    char *const *cells = table->cells + row * table->column_count;
    for (size_t i = row_end(table, layout); row > 0 && i < table->column_count; i++) {
        if (says_something(cells[i]) && used < sizeof(text))
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? "  " : "",
                                     cells[i]);
    }
    if (text[0] == '\0')
        return 0;
    if (out != NULL)
        fprintf(out, "%*s", INDENT, "");
    return blx_text_wrap(out, text, INDENT, INDENT, table->max_width);
}

static void paint(const struct cli_table *table, const char *colour, FILE *out)
{
    if (colour != NULL && table->paint != NULL)
        fputs(colour, out);
}

size_t cli_table_print(const struct cli_table *table)
{
    struct layout layout;
    FILE *out = table->out != NULL ? table->out : stdout;
    size_t rows = table->cell_count / table->column_count, lines = 0;
    lay_out(table, &layout);
    for (size_t row = 0; row < rows; row++) {
        lines += row == 0 ? 0 : 1 + print_folded(table, &layout, row, NULL);
        if (table->max_lines > 0 && lines > table->max_lines)
            return row - 1;
        const char *colour = table->paint != NULL ? table->paint(table->paint_arg, row) : NULL;
        paint(table, colour, out);
        print_row(table, &layout, row, out);
        print_folded(table, &layout, row, out);
        paint(table, colour != NULL ? CLI_PLAIN : NULL, out);
    }
    return rows > 0 ? rows - 1 : 0;
}

void cli_table_done(struct cli_table *table)
{
    for (size_t i = 0; i < table->cell_count; i += table->column_count)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct cli_table){0};
}
