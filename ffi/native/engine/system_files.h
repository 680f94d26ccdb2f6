// See calypte_system_read in calypte.h.
#pragma once

#include <cstdint>

namespace calypte {

int32_t system_read(const char *path, uint8_t *text, uint64_t capacity);
int32_t system_list(const char *path, uint8_t *names, uint64_t capacity);
int32_t system_links(const char *path, uint8_t *links, uint64_t capacity);
int32_t system_write(const char *path, const char *text);

}  // namespace calypte
