/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define ENTER_PICTURE "\033[?1049h\033[?25l" /* the alternate screen, no cursor */
#define LEAVE_PICTURE "\033[?25h\033[?1049l"
#define HOME          "\033[H"
#define CLEAR_LINE    "\033[K"
#define CLEAR_REST    "\033[J"

enum { FALLBACK_COLUMNS = 80, FALLBACK_ROWS = 24 };

size_t cli_screen_width(int fd)
{
    struct winsize size = {0};
    if (isatty(fd) != 1)
        return 0;
    ioctl(fd, TIOCGWINSZ, &size);
    return size.ws_col > 0 ? size.ws_col : FALLBACK_COLUMNS;
}

void cli_screen_look(struct cli_screen *screen)
{
    struct winsize size = {0};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    *screen = (struct cli_screen){.is_terminal = isatty(STDOUT_FILENO) == 1};
    if (!screen->is_terminal)
        return;
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    screen->columns = size.ws_col > 0 ? size.ws_col : FALLBACK_COLUMNS;
    screen->rows = size.ws_row > 0 ? size.ws_row : FALLBACK_ROWS;
    screen->has_colours =
        (no_color == NULL || no_color[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

/* Prints a line without its end, cut to the terminal's width: a line that continued in the next row
 * would push the top row out of the screen. Colours take no columns. */
static void show_line(const char *line, size_t length, size_t columns)
{
    bool in_escape = false;
    size_t column = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)line[i];
        bool is_escape = in_escape || c == '\033';
        if (!is_escape && (c & 0xc0) != 0x80)
            column++;
        if (is_escape || column <= columns)
            putchar(c);
        in_escape = is_escape && c != 'm';
    }
}

/* On a terminal each line also clears the rest of that line of the last picture. */
static void show(const struct cli_screen *screen, const char *picture)
{
    if (!screen->is_terminal) {
        fputs(picture, stdout);
    } else {
        fputs(HOME, stdout);
        while (*picture != '\0') {
            size_t length = strcspn(picture, "\n");
            show_line(picture, length, screen->columns);
            picture += length;
            if (*picture == '\n') {
                fputs(CLEAR_LINE "\n", stdout);
                picture++;
            }
        }
        fputs(CLEAR_REST, stdout);
    }
    fflush(stdout);
}

static int draw_once(cli_draw *draw, void *arg, bool first, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *picture = NULL;
    size_t bytes = 0;
    struct cli_screen screen;
    struct blx_error problem = {0};
    cli_screen_look(&screen);
    FILE *out = open_memstream(&picture, &bytes);
    if (out == NULL)
        return blx_error_errno(err, -errno, "cannot draw the picture");
    int rc = draw(arg, &screen, out, &problem);
    if (rc < 0 && !first)
        fprintf(out, "%s\n", problem.message);
    fclose(out);
    if (rc < 0 && first)
        return blx_error_copy(err, rc, &problem);
    show(&screen, picture);
    return 0;
}

static bool typed_end(void)
{
    char key = 0;
    return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
}

/* Waits until the next picture is due. True: there is to be no further one. */
static bool wait_for_end(int signal_fd, bool has_keys, unsigned period_ms)
{
    struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                           {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN}};
    struct signalfd_siginfo signal;
    uint64_t due_ns = blx_deadline_in_ms(period_ms);
    for (;;) {
        int ready = poll(fds, 2, blx_deadline_poll_ms(due_ns));
        if (ready == 0)
            return false;
        if (ready > 0 && fds[0].revents != 0 &&
            read(signal_fd, &signal, sizeof(signal)) == (ssize_t)sizeof(signal))
            return signal.ssi_signo != SIGWINCH;
        if (ready > 0 && fds[1].revents != 0 && typed_end())
            return true;
    }
}

static int watch_signals(sigset_t *before, struct blx_error *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&signals, numbers[i]);
    sigprocmask(SIG_BLOCK, &signals, before);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC);
    return fd < 0 ? blx_error_errno(err, -errno, "cannot wait for signals") : fd;
}

/* Has keys arrive one by one, without an echo. */
static bool take_keys(struct termios *before)
{
    if (tcgetattr(STDIN_FILENO, before) < 0)
        return false;
    struct termios keys = *before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    return tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0;
}

int cli_screen_watch(unsigned period_ms, cli_draw *draw, void *arg, struct blx_error *err)
{
    struct termios terminal;
    sigset_t signals;
    bool on_terminal = isatty(STDOUT_FILENO) == 1;
    BLX_CLEANUP_FD int signal_fd = watch_signals(&signals, err);
    if (signal_fd < 0)
        return signal_fd;
    bool has_keys = on_terminal && take_keys(&terminal);
    if (on_terminal)
        fputs(ENTER_PICTURE, stdout);
    int rc = draw_once(draw, arg, true, err);
    while (rc == 0 && !ferror(stdout) && !wait_for_end(signal_fd, has_keys, period_ms))
        rc = draw_once(draw, arg, false, err);
    if (on_terminal)
        fputs(LEAVE_PICTURE, stdout);
    fflush(stdout);
    if (has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
    sigprocmask(SIG_SETMASK, &signals, NULL);
    return rc;
}
