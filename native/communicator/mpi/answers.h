// Who did not come: a rank that gives up a call asks all others for an answer, which those have given that wait as well.
#pragma once

#include <optional>
#include <string>

#include "world.h"

namespace bts::mpi {

// Says for which call this rank waits in vain, and begins to collect what the others say. Once is enough.
void ask_for_answers(const char* call);

// What came of it from the ranks of a group, as a sentence; nothing while answers may still come.
std::optional<std::string> answers(const char* call, const Deadline& passed, const BtsGroup& group);

// Both, waiting.
std::string who_did_not_come(const char* call, const Deadline& passed, const BtsGroup& group);

}  // namespace bts::mpi
