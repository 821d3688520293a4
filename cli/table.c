/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/screen.h"

enum {
    GAP = 2,
    LAST_WIDTH = 24, /* the last column is cut to this width before others are left out */
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
    size_t widths[CLI_TABLE_MAX_COLUMNS];
};

static bool says_something(const char *cell)
{
    return cell[0] != '\0' && strcmp(cell, "-") != 0;
}

static size_t total_width(const struct cli_table *table, const struct layout *layout)
{
    size_t total = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        size_t width = layout->widths[i];
        if (i + 1 == table->column_count && width > LAST_WIDTH)
            width = LAST_WIDTH;
        total += layout->shown[i] ? width + GAP : 0;
    }
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
    for (size_t i = 0; table->max_width > 0 && i < table->spare_count; i++) {
        if (total_width(table, layout) <= table->max_width)
            break;
        layout->shown[table->spare[i]] = false;
    }
}

/* Cuts a line between two UTF-8 characters, never inside one. */
static void cut(char *line, size_t max_width)
{
    if (max_width == 0 || strlen(line) <= max_width)
        return;
    while (max_width > 0 && ((unsigned char)line[max_width] & 0xc0) == 0x80)
        max_width--;
    line[max_width] = '\0';
}

static void print_row(const struct cli_table *table, const struct layout *layout, size_t row,
                      FILE *out)
{
    char line[1024];
    size_t used = 0, end = 0; /* of the last cell that is not empty */
    char *const *cells = table->cells + row * table->column_count;
    for (size_t i = 0; i < table->column_count && used + 1 < sizeof(line); i++) {
        if (!layout->shown[i])
            continue;
        size_t length = strlen(cells[i]), width = layout->widths[i] + GAP;
        size_t left = sizeof(line) - 1 - used;
        length = length < left ? length : left;
        width = width < left ? width : left;
        memcpy(line + used, cells[i], length);
        memset(line + used + length, ' ', width - length);
        if (length > 0)
            end = used + length;
        used += width;
    }
    line[end] = '\0';
    cut(line, table->max_width);
    const char *paint = table->paint != NULL ? table->paint(table->paint_arg, row) : NULL;
    fprintf(out, "%s%s%s\n", paint != NULL ? paint : "", line, paint != NULL ? CLI_PLAIN : "");
}

void cli_table_print(const struct cli_table *table)
{
    struct layout layout;
    FILE *out = table->out != NULL ? table->out : stdout;
    size_t rows = table->cell_count / table->column_count;
    if (table->max_rows > 0 && rows > table->max_rows + 1)
        rows = table->max_rows + 1;
    lay_out(table, &layout);
    for (size_t row = 0; row < rows; row++)
        print_row(table, &layout, row, out);
}

void cli_table_done(struct cli_table *table)
{
    for (size_t i = 0; i < table->cell_count; i += table->column_count)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct cli_table){0};
}
