#pragma once

#include <string>

#include "mpi/interface.h"

namespace bts {

// The library at that path, which stays loaded. Throws ADDON_NOT_LOADED.
const BtsMpi& load_mpi(const std::string& path);

}  // namespace bts
