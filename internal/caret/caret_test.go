package caret_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"muster/internal/caret"
)

func TestPlaceCountsCharacters(t *testing.T) {
	check := func(src string, off int, want string) {
		t.Helper()
		if got := caret.Place(src, off); got != want {
			t.Errorf("Place(%q, %d) = %q, want %q", src, off, got, want)
		}
	}
	check("", 0, "column 1")
	check("abc", 2, "column 3")
	check("abc", 3, "column 4")
	check("abc", 99, "column 4")
	check("abc", -1, "column 1")
	check("üü=", 4, "column 3")
	check("üü=", 3, "column 2") // inside the second ü
	check("a\nbc", 3, "line 2, column 2")
	check("a\n\n", 3, "line 3, column 1")
}

func TestDrawPutsTheCaretUnderThePlace(t *testing.T) {
	check := func(src string, off int, want ...string) {
		t.Helper()
		if got, want := caret.Draw(src, off), strings.Join(want, "\n"); got != want {
			t.Errorf("Draw(%q, %d) =\n%s\nwant\n%s", src, off, got, want)
		}
	}
	check("", 0, "", "^")
	check("a = b", 2, "a = b", "  ^")
	check("a = b", 5, "a = b", "     ^")
	check("\ta\tb", 3, "\ta\tb", "\t \t^")
	check("türe =", 6, "türe =", "     ^")
	check("門 =", 4, "門 =", "   ^")            // two cells wide
	check("e\u0301 =", 4, "e\u0301 =", "  ^") // a combining accent takes none
	check("a\nb = c\nd", 4, "b = c", "  ^")
	check("a\x1b[1mb", 5, "a\uFFFD[1mb", "     ^") // no escape reaches the terminal
	check("a =\r\nb", 2, "a =", "  ^")
	check("a\xffb", 2, "a\uFFFDb", "  ^")
}

func TestDrawCutsLongLines(t *testing.T) {
	line := strings.Repeat("a", 5000) + "=" + strings.Repeat("b", 5000)
	for _, off := range []int{0, 60, 5000, 9990, 10001} {
		shown, mark, _ := strings.Cut(caret.Draw(line, off), "\n")
		if n := utf8.RuneCountInString(shown); n > 120 {
			t.Errorf("Draw at %d shows %d characters", off, n)
		}
		at := utf8.RuneCountInString(mark) - 1
		if off < len(line) && []rune(shown)[at] != rune(line[off]) {
			t.Errorf("Draw at %d points at %q", off, []rune(shown)[at])
		}
	}
}

func FuzzDraw(f *testing.F) {
	f.Add("tags.site == 'north'", 11)
	f.Add("a\n\tü門\xff", 5)
	f.Fuzz(func(t *testing.T, src string, off int) {
		drawn := caret.Draw(src, off)
		if strings.Count(drawn, "\n") != 1 || !strings.HasSuffix(drawn, "^") || !utf8.ValidString(drawn) {
			t.Errorf("Draw(%q, %d) = %q", src, off, drawn)
		}
		caret.Place(src, off)
	})
}
