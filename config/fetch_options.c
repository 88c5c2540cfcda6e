#include "config/fetch_options.h"

#include "base/checked.h"

#define FIELD(f) offsetof(struct fetch_options, f)

static const struct setting rows[] = {
    {"connections", SETTING_COUNT, FIELD(connections), .fallback = "32", .min = 1, .max = 1024,
     .value_name = "N", .help = "files that are fetched at once, of URLs and buckets"},
    {"host-connections", SETTING_COUNT, FIELD(host_connections), .fallback = "4", .min = 1,
     .max = 256, .value_name = "N", .help = "of them, from one server that keeps no bucket"},
    {"host-rate", SETTING_COUNT, FIELD(host_rate), .fallback = "0", .max = 100000,
     .value_name = "N", .help = "requests a second to one server; 0: as fast as it answers"},
    {"file-limit", SETTING_BYTES, FIELD(file_limit), .fallback = "64MiB", .min = 1024,
     .max = (uint64_t)1 << 30, .value_name = "SIZE", .help = "a larger file is not fetched"},
    {"recheck", SETTING_DURATION, FIELD(recheck), .fallback = "0s",
     .max = (uint64_t)10 * 365 * 24 * 3600000, .value_name = "TIME",
     .help = "how often a server is asked whether a file of it has changed; 0: never"},
    {"cache", SETTING_PATH, FIELD(cache), .value_name = "DIR",
     .help = "folder that keeps fetched files of URLs for the next time; of a local disk"},
    {"cache-size", SETTING_BYTES, FIELD(cache_size), .fallback = "50GiB", .min = (uint64_t)16 << 20,
     .max = (uint64_t)1 << 50, .value_name = "SIZE",
     .help = "of all in it: what was not used for longest makes room"},
    {"private-hosts", SETTING_FLAG, FIELD(private_hosts), .fallback = "false",
     .help = "fetch also from this machine and private networks: only for lists that you wrote"},
};

const struct settings_group fetch_settings = {
    .rows = rows, .n = ARRAY_SIZE(rows), .size = sizeof(struct fetch_options)};
