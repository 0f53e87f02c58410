package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"muster/hub/internal/store"
)

// bbolt leaves a goroutine behind when it finds a damage as it opens a file: it panics before it has read all that that one
// finds. A hub ends then.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.etcd.io/bbolt.(*DB).freepages.func2"))
}

// text is a value.
type text string

func (v text) Encode() ([]byte, error) {
	if v == "bad" {
		return nil, errors.New("not this one")
	}
	return []byte(v), nil
}

func put(db *store.DB, kind store.Kind, seq uint64, row uint32, v store.Value) {
	db.Put(store.Record{Key: store.Key{Kind: kind, Seq: seq, Row: row}, Value: v})
}

func open(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func closeDB(t testing.TB, db *store.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// content returns what a store holds.
func content(t testing.TB, db *store.DB) (all []string) {
	t.Helper()
	if err := db.Load(func(k store.Key, content []byte) error {
		all = append(all, fmt.Sprintf("%v=%s", k, content))
		return nil
	}); err != nil {
		t.Fatalf("load: %v", err)
	}
	return all
}

func TestKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	db := open(t, path)
	put(db, store.Device, 256, 0, text("b"))
	put(db, store.Device, 1, 0, text("a"))
	put(db, store.Device, 2, 0, text("gone"))
	put(db, store.Device, 2, 0, nil)
	put(db, store.Row, 7, 1, text("7/1"))
	put(db, store.Row, 7, 0, text("old"))
	put(db, store.Row, 8, 0, text("8/0"))
	if err := db.Wait(t.Context()); err != nil {
		t.Fatalf("wait: %v", err)
	}
	put(db, store.Row, 7, 0, text("7/0"))
	put(db, store.Row, 8, 0, nil)
	put(db, store.Row, 9, 0, nil)
	put(db, store.Meta, 0, 0, text(""))
	closeDB(t, db)
	want := []string{"meta/0=", "devices/1=a", "devices/256=b", "rows/7/0=7/0", "rows/7/1=7/1"}
	if diff := cmp.Diff(want, content(t, open(t, path))); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v), want it for its owner alone", info.Mode(), err)
	}
}

// What is shown comes after what it shows is kept, and in the order in which it was asked for.
func TestAfterKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "hub.db")
		db := open(t, path)
		defer db.Close()
		var mu sync.Mutex
		var told []int
		for i := range 1000 {
			if rand.IntN(2) == 0 {
				put(db, store.Device, uint64(i), 0, text("x"))
			}
			db.After(func() {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, i)
			})
			if rand.IntN(50) == 0 {
				synctest.Wait()
			}
		}
		if err := db.Wait(t.Context()); err != nil {
			t.Fatalf("wait: %v", err)
		}
		synctest.Wait()
		for i, got := range told {
			if got != i {
				t.Fatalf("call %d is that of %d", i, got)
			}
		}
		if len(told) != 1000 {
			t.Errorf("%d of 1000 were told", len(told))
		}
	})
}

// A store that cannot write tells nobody that anything is kept.
func TestFailure(t *testing.T) {
	for name, fail := range map[string]func(db *store.DB){
		"the file":  func(db *store.DB) { _ = db.Break(); put(db, store.Device, 2, 0, text("lost")) },
		"a content": func(db *store.DB) { put(db, store.Device, 2, 0, text("bad")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "hub.db")
				db := open(t, path)
				put(db, store.Device, 1, 0, text("kept"))
				if err := db.Wait(t.Context()); err != nil {
					t.Fatalf("wait: %v", err)
				}
				fail(db)
				told := false
				db.After(func() { told = true })
				err := db.Wait(t.Context())
				if err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("wait: %v, want an error that names %s", err, path)
				}
				<-db.Failed()
				put(db, store.Device, 3, 0, text("late"))
				db.After(func() { told = true })
				synctest.Wait()
				if again := db.Wait(t.Context()); !errors.Is(again, err) || told {
					t.Errorf("afterwards: %v, told %v; want %v and false", again, told, err)
				}
				if again := db.Close(); !errors.Is(again, err) {
					t.Errorf("close: %v, want %v", again, err)
				}
				if diff := cmp.Diff([]string{"devices/1=kept"}, content(t, open(t, path))); diff != "" {
					t.Errorf("content (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestClosed(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "hub.db"))
	closeDB(t, db)
	closeDB(t, db)
	put(db, store.Device, 1, 0, text("late"))
	if err := db.Wait(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("wait on a closed store: %v, want %v", err, store.ErrClosed)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "hub.db"))
	put(db, store.Device, 1, 0, text("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Wait(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
}

// foreign makes a file of bbolt that is not a hub's, or not one of now.
func foreign(t *testing.T, path string, fill func(tx *bbolt.Tx) error) {
	t.Helper()
	b, err := bbolt.Open(path, 0o600, nil)
	if err == nil {
		err = errors.Join(b.Update(fill), b.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRefusesAndLeavesAlone(t *testing.T) {
	tests := []struct {
		name string
		make func(path string) error
		want string
	}{
		{"text", func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("text\n", 5000)), 0o600) }, "hub.db is damaged, or not a hub's: invalid database"},
		{"short", func(path string) error { return os.WriteFile(path, []byte("text"), 0o600) }, "hub.db is damaged, or not a hub's: invalid database"},
		{"other", func(path string) error {
			foreign(t, path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err })
			return nil
		}, "hub.db is not a hub's"},
		{"newer", func(path string) error {
			foreign(t, path, func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte("muster hub"))
				return errors.Join(err, b.Put([]byte("format"), []byte("2")))
			})
			return nil
		}, "a newer muster wrote it, in format 2; this one reads up to 1"},
		{"no format", func(path string) error {
			foreign(t, path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("muster hub")); return err })
			return nil
		}, "hub.db is damaged: it has no format"},
		{"half", func(path string) error {
			filled(t, path)
			return os.Truncate(path, 3*4096)
		}, "damaged"},
		{"folder", func(path string) error { return os.Mkdir(path, 0o700) }, "hub.db is a folder"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hub.db")
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			_, err := store.Open(path)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("open: %v, want %q", err, test.want)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Errorf("the file was changed")
			}
		})
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	db := open(t, path)
	if _, err := store.Open(path); !errors.Is(err, store.ErrInUse) {
		t.Errorf("open a store that is open: %v, want %v", err, store.ErrInUse)
	}
	closeDB(t, db)
	closeDB(t, open(t, path))
}

// filled makes a store of some pages.
func filled(t testing.TB, path string) []string {
	t.Helper()
	db := open(t, path)
	for i := range 500 {
		put(db, store.Device, uint64(i), 0, text(fmt.Sprintf("device %d %s", i, strings.Repeat("x", i%100))))
		put(db, store.Row, uint64(i%7), uint32(i), text("row"))
		if i%50 == 0 {
			if err := db.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	all := content(t, db)
	closeDB(t, db)
	return all
}

// A bit that is another one is an error, or stands where nothing is; it is never a panic, and never another content. Of the two
// first pages bbolt takes the one that is whole, as after a write that was cut short.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	want := filled(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	refused := 0
	for range rounds {
		broken := append([]byte(nil), whole...)
		at, bit := 2*os.Getpagesize()+rand.IntN(len(broken)-2*os.Getpagesize()), rand.IntN(8)
		broken[at] ^= 1 << bit
		path := filepath.Join(t.TempDir(), "hub.db")
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := read(path)
		if err != nil {
			refused++
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("bit %d of byte %d: content (-want +got):\n%s", bit, at, diff)
		}
	}
	if refused == 0 {
		t.Errorf("no damage of %d was seen", rounds)
	}
}

func read(path string) (all []string, err error) {
	db, err := store.Open(path)
	if err != nil {
		return nil, err
	}
	err = db.Load(func(k store.Key, content []byte) error {
		all = append(all, fmt.Sprintf("%v=%s", k, content))
		return nil
	})
	return all, errors.Join(err, db.Close())
}
