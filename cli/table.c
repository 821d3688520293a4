#include "cli/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_table_add(struct cli_table *table, const char *const *texts)
{
    size_t wanted = table->cell_count + table->column_count;
    char **grown = reallocarray(table->cells, wanted, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    table->cells = grown;
    for (size_t i = 0; i < table->column_count; i++) {
        char *copy = strdup(texts[i]);
        if (copy == NULL)
            return -ENOMEM;
        grown[table->cell_count++] = copy;
    }
    return 0;
}

void cli_table_print(const struct cli_table *table)
{
    size_t widths[CLI_TABLE_MAX_COLUMNS] = {0};
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t *width = &widths[i % table->column_count];
        size_t length = strlen(table->cells[i]);
        *width = length > *width ? length : *width;
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->column_count;
        if (column + 1 == table->column_count)
            printf("%s\n", table->cells[i]);
        else
            printf("%-*s  ", (int)widths[column], table->cells[i]);
    }
}

void cli_table_done(struct cli_table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct cli_table){0};
}
