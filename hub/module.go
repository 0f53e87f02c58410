package hub

import (
	"slices"

	"muster/iothub"
)

// A module is an entry of the registry of its own, of the same type as a device: it has an identity, a twin, a session and
// methods, and a pointer to its device. It stands there by its client id, {device}/{module}: no id has a slash. Where both
// locks are needed the module's is taken first.

// isModule says whether d is a module and not a device.
func (d *device) isModule() bool { return d.parent != nil }

// deviceID returns the id of the device, or of the module's device.
func (d *device) deviceID() string {
	if d.parent != nil {
		return d.parent.id
	}
	return d.id
}

// moduleID returns the module's own id; a device has none.
func (d *device) moduleID() string {
	if d.parent != nil {
		return d.id[len(d.parent.id)+1:]
	}
	return ""
}

// resource returns what d's own tokens are for, on a host.
func (d *device) resource(host string) string {
	if d.parent != nil {
		return iothub.ModuleResource(host, d.parent.id, d.moduleID())
	}
	return iothub.DeviceResource(host, d.id)
}

// notFound says that d is not there any more.
func (d *device) notFound() *iothub.Error {
	if d.parent != nil {
		return errModuleNotFound(d.parent.id, d.moduleID())
	}
	return errDeviceNotFound(d.id)
}

// taken says that there is another of d's id.
func (d *device) taken() *iothub.Error {
	if d.parent != nil {
		return errModuleExists(d.parent.id, d.moduleID())
	}
	return errDeviceExists(d.id)
}

// barredLocked says whether d may not connect: it, or a module's device, was deleted or disabled. Who disables a device
// ends the connections of its modules after that, so none that is let in meanwhile stays.
func (d *device) barredLocked() bool {
	if d.gone.Load() || d.identity.disabled {
		return true
	}
	p := d.parent
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone.Load() || p.identity.disabled
}

// moduleList returns the device's modules, in order of registration.
func (d *device) moduleList() []*device {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.modulesLocked())
}

func (d *device) modulesLocked() []*device {
	if d.modules == nil {
		return nil
	}
	return *d.modules
}

// keepModulesLocked sets the list of modules; few devices have one.
func (d *device) keepModulesLocked(list []*device) {
	if d.modules = nil; len(list) > 0 {
		d.modules = &list
	}
}

// lookup returns the device of that id, or with a module its module.
func (h *Hub) lookup(id, module string) (*device, *iothub.Error) {
	d := h.registry.device(id)
	switch {
	case d == nil:
		return nil, errDeviceNotFound(id)
	case module == "":
		return d, nil
	}
	if m := h.registry.find(iothub.ModuleClientID(id, module)); m != nil {
		return m, nil
	}
	return nil, errModuleNotFound(id, module)
}

// createModule registers a module of a device with a fresh twin, which may be seeded.
func (h *Hub) createModule(d *device, module string, doc *iothub.Device, seed *twinDocument) (*device, *iothub.Error) {
	if !iothub.ValidDeviceID(module) {
		return nil, errArgument("The module id is not valid: 1 to 128 letters, digits or -.+%_#*?!(),:;=@$'.")
	}
	m, err := h.newDevice(iothub.ModuleClientID(d.id, module), doc, seed)
	if err != nil {
		return nil, err
	}
	m.parent = d
	if err := d.adopt(m, h.registry); err != nil {
		return nil, err
	}
	return m, nil
}

// adopt registers a new module of the device. The lock is held until the module is in both books, so that a device that goes
// takes all its modules with it.
func (d *device) adopt(m *device, r *registry) *iothub.Error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.gone.Load():
		return d.notFound()
	case r.find(m.id) != nil:
		return m.taken()
	case len(d.modulesLocked()) >= iothub.MaxModules:
		return errTooManyModules()
	}
	if err := r.add(m); err != nil {
		return err
	}
	d.keepModulesLocked(append(d.modulesLocked(), m))
	return nil
}

// disown takes a deleted module from its device.
func (d *device) disown(m *device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.modulesLocked(), m); i >= 0 {
		d.keepModulesLocked(slices.Delete(*d.modules, i, i+1))
	}
}

// endModules ends the connections of a device's modules.
func (d *device) endModules() {
	for _, m := range d.moduleList() {
		m.mu.Lock()
		c := m.conn
		m.mu.Unlock()
		if c != nil {
			c.end(endUnauthorized)
		}
	}
}

// moduleDocument returns a module's identity as the service shows it.
func (d *device) moduleDocument() iothub.Module {
	doc := d.document()
	return iothub.Module{
		ModuleID:                   d.moduleID(),
		DeviceID:                   d.parent.id,
		GenerationID:               doc.GenerationID,
		ETag:                       doc.ETag,
		ConnectionState:            doc.ConnectionState,
		ConnectionStateUpdatedTime: doc.ConnectionStateUpdatedTime,
		LastActivityTime:           doc.LastActivityTime,
		Authentication:             doc.Authentication,
	}
}
