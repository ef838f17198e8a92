/* RTP through a relay: two-way streams, a packet every 20 ms, and how long each packet took.
 *
 *     rtp_load STREAMS SECONDS WARM_UP_SECONDS TICK_US [LEFT RIGHT]
 *
 * STREAMS is a file with a line per stream: the four addresses (IP:PORT) of one end, of the relay's port that this end
 * sends to, of the other end, and of the relay's port that the other end sends to. LEFT and RIGHT say what the ends say, as
 * PAYLOAD_TYPE:TICKS:FILE: the timestamp's growth per packet, and payloads one after another, each behind its length in two
 * octets; without them it is 160 octets of PCMU. The relay must pass on what comes, or recode it packet by packet: source and
 * sequence number stay, for a packet is known again by them. RTP_LOAD_LEFT and RTP_LOAD_RIGHT in the environment are the files of
 * the network namespaces that the ends lie in, if not this one.
 *
 * Nothing here waits for a packet: sockets are emptied when it is their turn to send, and the kernel noted when each packet
 * arrived (SO_TIMESTAMPNS). A wake-up per packet would cost more than the relaying, and would be charged to the relay,
 * in whose context loopback delivers. Sends fall due evenly over the 20 ms and leave in bursts every TICK_US.
 *
 * Prints `begin` when the warm-up is over and `end` after the last send, each as it happens, so that the caller can read the
 * relay's CPU time there; then one JSON object. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER_LEN = 12,
    PAYLOAD_MAX = 1400,
    FIRST_SSRC = 0x0ff00000,    /* that of the first end; the others follow */
    INDEXES_MAX = 65536,        /* the sequence number tells packets apart */
    PACKETS_PER_SEC = 50,
    READ_MAX = 16,              /* packets read from one socket at a time */
    LATENCY_SLOTS = 1 << 20,    /* a histogram of microseconds; a second and more is its last slot */
    DRAIN_US = 300000,          /* what is still on its way after the last send */
};

/* What one side says, over and over. */
struct speech {
    uint8_t payload_type;
    uint32_t ticks;
    uint32_t count;
    uint8_t **payloads;
    uint16_t *lengths;
};

/* One end of a stream. Its source is its number, so that a packet that arrives elsewhere is noticed. */
struct end {
    int socket;
    uint32_t sent;              /* packets, also the index of the next one */
    uint32_t next;              /* one more than the highest index received */
    uint8_t *seen;              /* by index: it has arrived */
    uint64_t *sent_at_ns;       /* by index */
};

static struct speech speeches[2];
static struct end *ends;
static uint32_t end_count, warm_up, indexes;
static uint64_t received, duplicates, overtaken, strange;
static uint32_t *latency;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "rtp_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in address(const char *text)
{
    char ip[16];
    unsigned port;
    struct sockaddr_in a = {.sin_family = AF_INET};
    errno = EINVAL;
    if (sscanf(text, "%15[0-9.]:%u", ip, &port) != 2 || inet_pton(AF_INET, ip, &a.sin_addr) != 1)
        fail(text);
    a.sin_port = htons(port);
    return a;
}

static struct end open_end(const char *local, const char *remote)
{
    struct sockaddr_in ours = address(local), theirs = address(remote);
    struct end end = {.socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), .seen = calloc(indexes, 1),
                      .sent_at_ns = calloc(indexes, sizeof(uint64_t))};
    int on = 1;
    if (end.socket < 0 || bind(end.socket, (void *)&ours, sizeof ours)
        || connect(end.socket, (void *)&theirs, sizeof theirs)
        || setsockopt(end.socket, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on))
        fail(local);
    return end;
}

/* Sockets that are made from now on lie there. */
static void enter(const char *namespace)
{
    if (!namespace)
        return;
    int file = open(namespace, O_RDONLY);
    if (file < 0 || setns(file, CLONE_NEWNET))
        fail(namespace);
    close(file);
}

static void open_ends(const char *list, const char *first, const char *second)
{
    char a[24], relay_a[24], b[24], relay_b[24];
    FILE *file = fopen(list, "r");
    if (!file)
        fail(list);
    while (fscanf(file, "%23s %23s %23s %23s", a, relay_a, b, relay_b) == 4) {
        ends = realloc(ends, (end_count + 2) * sizeof *ends);
        enter(first);
        ends[end_count++] = open_end(a, relay_a);
        enter(second);
        ends[end_count++] = open_end(b, relay_b);
    }
    fclose(file);
}

/* When the kernel got the packet; 0 if it does not say. */
static uint64_t arrival_ns(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            return t.tv_sec * 1000000000ull + t.tv_nsec;
        }
    return 0;
}

static void take(uint32_t at, const uint8_t *packet, uint32_t len, uint64_t arrived_ns)
{
    struct end *end = &ends[at];
    uint32_t ssrc = ntohl(*(const uint32_t *)(packet + 8)), index = ntohs(*(const uint16_t *)(packet + 2));
    /* The ends of a stream stand side by side: the other one's number differs in the last bit. */
    if (len <= HEADER_LEN || ssrc - FIRST_SSRC != (at ^ 1) || index >= indexes) {
        strange++;
        return;
    }
    if (end->seen[index]++) {
        duplicates++;
        return;
    }
    if (index < end->next)
        overtaken++;
    else
        end->next = index + 1;
    if (index < warm_up)
        return;
    received++;
    uint64_t sent_at_ns = ends[at ^ 1].sent_at_ns[index];
    uint64_t us = arrived_ns > sent_at_ns ? (arrived_ns - sent_at_ns) / 1000 : 0;
    latency[us < LATENCY_SLOTS ? us : LATENCY_SLOTS - 1]++;
}

static void drain(uint32_t at)
{
    static uint8_t buffers[READ_MAX][HEADER_LEN + PAYLOAD_MAX] __attribute__((aligned(8)));
    static char notes[READ_MAX][64];
    struct iovec vectors[READ_MAX];
    struct mmsghdr messages[READ_MAX];
    for (int i = 0; i < READ_MAX; i++) {
        vectors[i] = (struct iovec){buffers[i], sizeof buffers[i]};
        messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &vectors[i], .msg_iovlen = 1, .msg_control = notes[i], .msg_controllen = sizeof notes[i]};
    }
    int count = recvmmsg(ends[at].socket, messages, READ_MAX, 0, NULL);
    for (int i = 0; i < count; i++)
        take(at, buffers[i], messages[i].msg_len, arrival_ns(&messages[i].msg_hdr));
}

static int send_next(uint32_t at)
{
    static uint8_t packet[HEADER_LEN + PAYLOAD_MAX] = {0x80};
    struct end *end = &ends[at];
    const struct speech *speech = &speeches[at & 1];
    uint32_t index = end->sent++, word = index % speech->count;
    uint16_t sequence_number = htons(index), len = speech->lengths[word];
    uint32_t timestamp = htonl(index * speech->ticks), ssrc = htonl(FIRST_SSRC + at);
    packet[1] = speech->payload_type;
    memcpy(packet + 2, &sequence_number, 2);
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 8, &ssrc, 4);
    memcpy(packet + HEADER_LEN, speech->payloads[word], len);
    end->sent_at_ns[index] = now_ns(CLOCK_REALTIME);
    return send(end->socket, packet, HEADER_LEN + len, 0) == HEADER_LEN + len;
}

static void add_payload(struct speech *speech, const uint8_t *payload, uint16_t len)
{
    speech->payloads = realloc(speech->payloads, (speech->count + 1) * sizeof *speech->payloads);
    speech->lengths = realloc(speech->lengths, (speech->count + 1) * sizeof *speech->lengths);
    speech->payloads[speech->count] = memcpy(malloc(PAYLOAD_MAX), payload, len);
    speech->lengths[speech->count++] = len;
}

static struct speech silence(void)
{
    struct speech speech = {.payload_type = 0, .ticks = 160};
    static const uint8_t payload[160];
    add_payload(&speech, payload, sizeof payload);
    return speech;
}

/* Reads PAYLOAD_TYPE:TICKS:FILE. */
static struct speech speech_of(const char *text)
{
    unsigned payload_type, ticks;
    int name;
    errno = EINVAL;
    if (sscanf(text, "%u:%u:%n", &payload_type, &ticks, &name) != 2)
        fail(text);
    FILE *file = fopen(text + name, "rb");
    if (!file)
        fail(text);
    struct speech speech = {.payload_type = payload_type, .ticks = ticks};
    uint8_t length[2], payload[PAYLOAD_MAX];
    while (fread(length, sizeof length, 1, file) == 1) {
        uint16_t len = length[0] << 8 | length[1];
        if (len > PAYLOAD_MAX || fread(payload, 1, len, file) != len)
            fail(text);
        add_payload(&speech, payload, len);
    }
    fclose(file);
    errno = ENODATA;
    if (speech.count == 0)
        fail(text);
    return speech;
}

static double percentile_us(double share)
{
    uint64_t below = 0, wanted = received * share;
    for (uint32_t us = 0; us < LATENCY_SLOTS; us++)
        if ((below += latency[us]) > wanted)
            return us;
    return 0;
}

static void say(const char *what)
{
    puts(what);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 7) {
        fputs("usage: rtp_load STREAMS SECONDS WARM_UP_SECONDS TICK_US [LEFT RIGHT]\n", stderr);
        return 2;
    }
    double seconds = atof(argv[2]), warm_up_seconds = atof(argv[3]);
    uint64_t tick_ns = atoi(argv[4]) * 1000ull;
    warm_up = warm_up_seconds * PACKETS_PER_SEC;
    indexes = warm_up + (uint32_t)(seconds * PACKETS_PER_SEC);
    errno = ERANGE;
    if (indexes > INDEXES_MAX)
        fail(argv[2]);
    for (int side = 0; side < 2; side++)
        speeches[side] = argc == 7 ? speech_of(argv[5 + side]) : silence();
    latency = calloc(LATENCY_SLOTS, sizeof *latency);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1);
    open_ends(argv[1], getenv("RTP_LOAD_LEFT"), getenv("RTP_LOAD_RIGHT"));
    if (end_count == 0) {
        errno = ENODATA;
        fail(argv[1]);
    }

    uint64_t total = (uint64_t)end_count * indexes, unmeasured = (uint64_t)end_count * warm_up, done = 0;
    uint64_t refused = 0, behind_max = 0, cpu_began = 0;
    uint64_t start = now_ns(CLOCK_MONOTONIC) + 20000000;
    for (uint64_t tick = 1; done < total; tick++) {
        uint64_t at = start + tick * tick_ns;
        struct timespec until = {at / 1000000000, at % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        if (now > at && done > unmeasured && now - at > behind_max)
            behind_max = now - at;
        uint64_t due = (__uint128_t)(at - start) * end_count * PACKETS_PER_SEC / 1000000000;
        for (; done < due && done < total; done++) {
            if (done == unmeasured) {
                say("begin");
                cpu_began = now_ns(CLOCK_PROCESS_CPUTIME_ID);
            }
            /* The ends of a stream speak half an interval apart. */
            uint32_t slot = done % end_count, half = end_count / 2;
            uint32_t turn = slot % 2 ? (slot / 2 + half / 2) % half * 2 + 1 : slot;
            drain(turn);
            refused += !send_next(turn);
        }
    }
    say("end");
    uint64_t cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_began, sent = total - unmeasured;
    usleep(DRAIN_US);
    for (uint32_t at = 0; at < end_count; at++)
        drain(at);
    printf("{\"streams\": %u, \"sent\": %llu, \"received\": %llu, \"lost\": %lld, \"refused\": %llu, \"duplicates\": %llu, "
           "\"overtaken\": %llu, \"strange\": %llu, \"latency_p50_us\": %.0f, \"latency_p99_us\": %.0f, "
           "\"latency_p999_us\": %.0f, \"generator_cpu_us\": %.2f, \"behind_max_us\": %llu, \"tick_us\": %llu}\n",
        end_count / 2, (unsigned long long)sent, (unsigned long long)received, (long long)(sent - received),
        (unsigned long long)refused, (unsigned long long)duplicates, (unsigned long long)overtaken,
        (unsigned long long)strange, percentile_us(0.5), percentile_us(0.99), percentile_us(0.999), cpu_ns / 1e3 / sent,
        (unsigned long long)behind_max / 1000, (unsigned long long)tick_ns / 1000);
    return 0;
}
