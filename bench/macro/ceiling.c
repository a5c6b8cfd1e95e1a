/* The physical ceiling of an HTTP/1.1 hit on this machine: epoll, one send, nothing else.
 *
 * Owns canned answers for the body sizes named on the command line; `GET /<size>...` chooses one.
 * Never parses more than that, never checks anything: no real server can cost less, so the cost of
 * a real one is told as a ratio to this one.
 *
 * usage: ceiling PORT THREADS SIZE...
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ANSWERS_MAX = 16, FD_MAX = 65536, INPUT_MAX = 16384, PIPELINE_MAX = 64, EVENTS_MAX = 512 };

struct answer { size_t body_size, size; char *bytes; };
struct connection { size_t input_size; size_t unsent; const struct answer *current; char input[INPUT_MAX]; };

static struct answer answers[ANSWERS_MAX];
static int answer_count;
static int port;
static struct connection *connections[FD_MAX]; /* a descriptor belongs to one thread at a time */

static void die(const char *what) { perror(what); exit(1); }

static void prepare(size_t body_size) {
    struct answer *answer = &answers[answer_count++];
    answer->bytes = malloc(body_size + 256);
    if (answer->bytes == NULL) die("malloc");
    int head = snprintf(answer->bytes, 256,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                        "Content-Length: %zu\r\nCache-Control: max-age=3600\r\nAge: 1\r\n\r\n", body_size);
    memset(answer->bytes + head, 'x', body_size);
    answer->body_size = body_size;
    answer->size = (size_t)head + body_size;
}

static const struct answer *choose(const char *request) {
    size_t wanted = strtoul(request + 5, NULL, 10); /* after "GET /" */
    for (int i = 0; i < answer_count; i++)
        if (answers[i].body_size == wanted) return &answers[i];
    return &answers[0];
}

static void forget(int fd) { free(connections[fd]); connections[fd] = NULL; close(fd); }

/* Sends what is left of one big answer; 1 when all is sent, 0 when the socket is full, -1 on error. */
static int flush_current(int epoll, int fd, struct connection *c) {
    while (c->unsent > 0) {
        ssize_t n = send(fd, c->current->bytes + c->current->size - c->unsent, c->unsent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) return -1;
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
            epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
            return 0;
        }
        c->unsent -= (size_t)n;
    }
    return 1;
}

static int answer_all(int epoll, int fd, struct connection *c) {
    for (;;) {
        struct iovec parts[PIPELINE_MAX];
        const struct answer *chosen[PIPELINE_MAX];
        size_t used = 0, total = 0;
        int count = 0;
        char *end;
        while (count < PIPELINE_MAX &&
               (end = memmem(c->input + used, c->input_size - used, "\r\n\r\n", 4)) != NULL) {
            chosen[count] = choose(c->input + used);
            parts[count] = (struct iovec){chosen[count]->bytes, chosen[count]->size};
            total += chosen[count]->size;
            count++;
            used = (size_t)(end + 4 - c->input);
            if (total > 65536) break; /* a partial write then concerns the last answer only */
        }
        if (count == 0) return 1;
        memmove(c->input, c->input + used, c->input_size - used);
        c->input_size -= used;
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        size_t sent = 0;
        int first = 0;
        while (sent < total) {
            ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN && first == count - 1) {
                c->current = chosen[first];
                c->unsent = parts[first].iov_len;
                int done = flush_current(epoll, fd, c);
                if (done != 1) return done;
                break;
            }
            if (n < 0 && errno == EAGAIN) continue; /* small answers in a full socket: rare, spin */
            if (n < 0) return -1;
            sent += (size_t)n;
            for (size_t left = (size_t)n; left > 0;) {
                size_t step = left < parts[first].iov_len ? left : parts[first].iov_len;
                parts[first].iov_base = (char *)parts[first].iov_base + step;
                parts[first].iov_len -= step;
                left -= step;
                if (parts[first].iov_len == 0 && first < count - 1) first++;
            }
            message.msg_iov = parts + first;
            message.msg_iovlen = (size_t)(count - first);
        }
    }
}

static int on_ready(int epoll, int fd, unsigned events) {
    struct connection *c = connections[fd];
    if (c->unsent > 0) {
        if (!(events & EPOLLOUT)) return (events & (EPOLLERR | EPOLLHUP)) ? -1 : 0;
        int done = flush_current(epoll, fd, c);
        if (done != 1) return done;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
        return answer_all(epoll, fd, c);
    }
    ssize_t n = recv(fd, c->input + c->input_size, INPUT_MAX - c->input_size, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return -1;
    if (n > 0) c->input_size += (size_t)n;
    return answer_all(epoll, fd, c);
}

static void accept_all(int epoll, int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fd >= FD_MAX || (connections[fd] = calloc(1, sizeof *connections[fd])) == NULL) {
            close(fd);
            continue;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void *serve(void *unused) {
    (void)unused;
    int one = 1, epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (listen(listener, 1024) < 0) die("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS_MAX];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) accept_all(epoll, listener);
            else if (on_ready(epoll, fd, events[i].events) < 0) forget(fd);
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 4 || argc - 3 > ANSWERS_MAX) { fprintf(stderr, "usage: ceiling PORT THREADS SIZE...\n"); return 2; }
    port = atoi(argv[1]);
    for (int i = 3; i < argc; i++) prepare(strtoul(argv[i], NULL, 10));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 1; i < atoi(argv[2]); i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, NULL) != 0) die("pthread_create");
    }
    serve(NULL);
}
