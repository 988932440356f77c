#pragma once

namespace ifast {

// Version of the Python package this was built for; a mismatch at import means a stale build.
inline constexpr const char* kVersion = IFAST_VERSION;

}  // namespace ifast
