#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each machine check fails on a planted violation, at its line, and stays silent on clean text."""

import pathlib
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import lint  # noqa: E402
from harness.runner import run_suite  # noqa: E402

HEAD = "/* SPDX-License-Identifier: AGPL-3.0-or-later */\n"


class Planted(unittest.TestCase):
    def setUp(self) -> None:
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="cohue-lint-"))
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(lint.ROOT / ".clang-format", self.root)

    def plant(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def found(self, check: str) -> list[str]:
        return list(lint.CHECKS[check](self.root))

    def test_banned_call_is_found_at_its_line(self) -> None:
        self.plant("src/mail/a.c", HEAD + "void f(char *a)\n{\n\tstrcpy (a, a);\n}\n")
        self.assertEqual([line.split(" ")[0] for line in self.found("banned")], ["src/mail/a.c:4:"])

    def test_banned_names_in_comments_strings_and_longer_names_are_no_calls(self) -> None:
        self.plant("src/mail/a.c", HEAD + '// strcpy(a)\n/* system("x")\n */\nconst char *s = "a\\"gets(x)";\n'
                   "int my_system(int); int b = p->time(0); char c = '\"'; int snprintf(int);\n")
        self.assertEqual(self.found("banned"), [])

    def test_a_call_behind_a_string_and_a_comment_is_still_found(self) -> None:
        self.plant("src/mail/a.c", HEAD + 'const char *s = "/*"; int r = rand(); /* "*/\n')
        self.assertEqual(len(self.found("banned")), 1)

    def test_libraries_never_log_but_their_tests_and_programs_may_print(self) -> None:
        for name in ("src/mail/a.c", "src/mail/a_test.c", "src/cli/a.c"):
            self.plant(name, HEAD + 'void f(void) { printf("x"); }\n')
        self.assertEqual([line.split(":")[0] for line in self.found("banned")], ["src/mail/a.c"])

    def test_a_call_allowed_in_tests_is_found_in_what_ships(self) -> None:
        for name in ("src/loop/a.c", "src/loop/a_test.c"):
            self.plant(name, HEAD + 'int f(char *t) { return sscanf(t, "x"); }\n')
        self.assertEqual([line.split(":")[0] for line in self.found("banned")], ["src/loop/a.c"])

    def test_pure_libraries_read_no_clock(self) -> None:
        self.plant("src/law/a.c", HEAD + "void f(void) { clock_gettime(0, 0); }\n")
        self.plant("src/loop/a.c", HEAD + "void f(void) { clock_gettime(0, 0); }\n")
        self.assertEqual([line.split(":")[0] for line in self.found("banned")], ["src/law/a.c"])

    def test_include_against_the_order_is_found(self) -> None:
        self.plant("src/mail/a.h", HEAD + '#include "base/bytes.h"\n#include "loop/loop.h"\n')
        self.assertEqual(len(self.found("layers")), 1)
        self.assertIn("src/mail/a.h:3: mail may not include loop", self.found("layers")[0])

    def test_roles_never_include_each_other(self) -> None:
        self.plant("src/session/a.c", HEAD + '#include "mixer/a.h"\n#include "fold/fold.h"\n')
        self.assertEqual(len(self.found("layers")), 1)

    def test_protocol_never_sees_sockets(self) -> None:
        self.plant("src/protocol/a.c", HEAD + "#include <sys/socket.h>\n")
        self.assertEqual(len(self.found("layers")), 1)

    def test_include_without_module_and_unknown_module_are_found(self) -> None:
        self.plant("src/mail/a.c", HEAD + '#include "a.h"\n')
        self.plant("src/novel/a.c", HEAD)
        self.assertEqual(len(self.found("layers")), 2)

    def test_commented_include_counts_for_nothing(self) -> None:
        self.plant("src/mail/a.c", HEAD + '/*\n#include "loop/loop.h"\n*/\n')
        self.assertEqual(self.found("layers"), [])

    def test_bad_formatting_is_found(self) -> None:
        self.plant("src/mail/a.c", HEAD + "int  f( void ) { return 1; }\n")
        self.assertTrue(self.found("format"))
        self.plant("src/mail/a.c", HEAD + "int f(void);\n")
        self.assertEqual(self.found("format"), [])

    def test_missing_licence_is_found(self) -> None:
        self.plant("src/mail/a.c", "int f(void);\n")
        self.plant("test/b.py", "#!/usr/bin/env python3\n# SPDX-License-Identifier: AGPL-3.0-or-later\n")
        self.assertEqual([line.split(":")[0] for line in self.found("spdx")], ["src/mail/a.c"])

    def test_path_of_a_machine_is_found(self) -> None:
        self.plant("docs/a.md", "see /work" + "/main/x\n")
        self.plant("docs/b.md", "see ./x and /var/lib/cohue, homework/ too\n")
        self.assertEqual([line.split(":")[0] for line in self.found("machine")], ["docs/a.md"])

    def test_role_without_security_paragraph_is_found(self) -> None:
        self.plant("src/mixer/mixer.c", HEAD + "int f(void);\n")
        self.plant("src/mixer/meson.build", "")
        self.assertEqual(len(self.found("security")), 1)
        self.plant("src/mixer/mixer.c", HEAD + "/* SECURITY: reads ... */\nint f(void);\n")
        self.assertEqual(self.found("security"), [])


if __name__ == "__main__":
    sys.exit(run_suite(unittest.defaultTestLoader.loadTestsFromTestCase(Planted)))
