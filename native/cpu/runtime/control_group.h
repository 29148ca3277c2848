#pragma once

#include <cstddef>

namespace bts::cpu {

// Bytes that this process's control groups (a container's, a job's) still let it take; SIZE_MAX where none has a limit.
size_t bytes_left_in_groups();

}  // namespace bts::cpu
