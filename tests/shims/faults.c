/* Faults of the machine, for one process: preloaded into the node by tests/cases/faults.rs. What is wrong now stands in the file
   that FAULTS names, and may change at any time:
     slow N     flushing a file to the disk takes N milliseconds more
     readonly   no file can be written at a place (as SQLite does)
     clock N    the wall clock is N seconds ahead */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The number behind `word` in the file, 1 if there is none behind it, 0 if the word is not there. */
static long fault(const char *word) {
    const char *path = getenv("FAULTS");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file) return 0;
    char name[32] = "";
    long number = 1;
    int found = fscanf(file, "%31s %ld", name, &number);
    fclose(file);
    return found > 0 && strcmp(name, word) == 0 ? number : 0;
}

static void flush_slowly(void) {
    int before = errno;
    long millis = fault("slow");
    if (millis) usleep((useconds_t)(millis * 1000));
    errno = before;
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    flush_slowly();
    return real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    flush_slowly();
    return real(fd);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (fault("readonly")) {
        errno = EROFS;
        return -1;
    }
    return real(fd, from, size, at);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { return pwrite64(fd, from, size, at); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static long ahead;
    static time_t asked;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        struct timespec since;
        /* The file is asked once a second at most. */
        if (real(CLOCK_MONOTONIC, &since) == 0 && since.tv_sec != asked) {
            asked = since.tv_sec;
            ahead = fault("clock");
        }
        now->tv_sec += ahead;
    }
    return result;
}
