package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v4"

	"muster/report"
)

// Folder is what the results folder of one run says.
type Folder struct {
	Dir      string
	Header   report.Run
	Summary  report.Summary
	Scenario map[string]string // the resolved scenario: each value by its path
}

// ReadFolder reads the results folder of a run that came to its end. The error
// of any other folder says what it is.
func ReadFolder(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("read results folder %s: %w", dir, err)
	}
	return f, nil
}

func (f *Folder) read() error {
	if info, err := os.Stat(f.Dir); err != nil {
		return cause(err)
	} else if !info.IsDir() {
		return errors.New("it is a file, not a folder")
	}
	err := f.decode("run.json", &f.Header)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it holds no run: there is no run.json")
	}
	if err != nil {
		return err
	}
	err = f.decode("summary.json", &f.Summary)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("its run died: there is no summary.json ('muster report %s' tells what it measured)", f.Dir)
	}
	if err != nil {
		return err
	}
	return f.readScenario()
}

// decode reads a JSON file of the folder.
func (f *Folder) decode(name string, into any) error {
	src, err := os.ReadFile(filepath.Join(f.Dir, name))
	if err != nil {
		return fmt.Errorf("%s: %w", name, cause(err))
	}
	var syntax *json.SyntaxError
	err = json.Unmarshal(src, into)
	switch {
	case errors.As(err, &syntax) && syntax.Offset >= int64(len(src)):
		return fmt.Errorf("%s is truncated: it ends after %d bytes in the middle of a value", name, len(src))
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (f *Folder) readScenario() error {
	src, err := os.ReadFile(filepath.Join(f.Dir, "scenario.yaml"))
	if err != nil {
		return fmt.Errorf("scenario.yaml: %w", cause(err))
	}
	if f.Scenario, err = settings(src); err != nil {
		return fmt.Errorf("scenario.yaml: %w", err)
	}
	return nil
}

// settings returns each value of a resolved scenario by its path.
func settings(resolved []byte) (map[string]string, error) {
	var tree any
	if err := yaml.Unmarshal(resolved, &tree); err != nil {
		return nil, err
	}
	all := map[string]string{}
	flatten(all, "", tree)
	return all, nil
}

// SettingsBetween returns the paths at which two resolved scenarios differ, as
// Config.Settings takes them.
func SettingsBetween(base, newer []byte) ([]string, error) {
	a, err := settings(base)
	if err != nil {
		return nil, fmt.Errorf("read the resolved scenario of the base: %w", err)
	}
	b, err := settings(newer)
	if err != nil {
		return nil, fmt.Errorf("read the resolved scenario: %w", err)
	}
	for path, value := range b {
		if other, ok := a[path]; ok && other == value {
			delete(a, path)
		} else {
			a[path] = value
		}
	}
	return slices.Sorted(maps.Keys(a)), nil
}

// flatten notes each value of a tree by its path, such as jobs.lock.via: items
// of a list that have a name are called by it.
func flatten(into map[string]string, path string, value any) {
	join := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			flatten(into, join(key), below)
		}
	case []any:
		for i, item := range v {
			name := fmt.Sprintf("%s[%d]", path, i)
			if named := nameOf(item); named != "" {
				name = join(named)
			}
			flatten(into, name, item)
		}
	default:
		into[path] = fmt.Sprint(v)
	}
}

// nameOf returns the name of a job or a group.
func nameOf(item any) string {
	fields, _ := item.(map[string]any)
	for _, key := range []string{"name", "group"} {
		if name, ok := fields[key].(string); ok {
			return name
		}
	}
	return ""
}

// cause drops the path and operation that the caller's message has already.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// fault returns why a run's numbers cannot be compared, or "". A threshold that
// failed is no such reason: the gate has an objective of its own.
func (f *Folder) fault() string {
	switch v := f.Summary.Verdict; v {
	case report.Pass, report.Fail:
		return ""
	default:
		if len(f.Summary.Reasons) > 0 {
			return fmt.Sprintf("its verdict is %s: %s", v, f.Summary.Reasons[0])
		}
		return fmt.Sprintf("its verdict is %s", v)
	}
}
